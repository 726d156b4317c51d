package notify

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, hook := one(t, status(http.StatusNoContent))
		r.happens(t, "first", "second")
		got := hook.requests()
		if len(got) != 2 {
			t.Fatalf("%d requests", len(got))
		}
		ids := make(map[string]bool)
		for i, req := range got {
			var body struct {
				ID  string `json:"id"`
				Seq int    `json:"seq"`
				Why string `json:"why"`
			}
			if err := json.Unmarshal([]byte(req.body), &body); err != nil {
				t.Fatal(err)
			}
			if body.Seq != i+1 || body.Why != []string{"first", "second"}[i] || body.ID != req.header.Get("webhook-id") || len(body.ID) != 32 {
				t.Errorf("body %s with headers %v", req.body, req.header)
			}
			if err := verify(req.header, req.body, secret, wall()); err != nil {
				t.Error(err)
			}
			if req.header.Get("Content-Type") != "application/json" || req.header.Get("User-Agent") != "portolan/test" || req.path != "/hidden-token" {
				t.Errorf("path %s, headers %v", req.path, req.header)
			}
			ids[body.ID] = true
		}
		if len(ids) != 2 {
			t.Error("two deliveries have one id")
		}
		// The connection is used again, and no proxy is.
		if want := "[hooks.example.com:80]"; fmt.Sprint(r.dialed) != want {
			t.Errorf("dialed %v, want %s", r.dialed, want)
		}
		if r.logged("level=") != 0 {
			t.Errorf("logged: %s", &r.text)
		}
		r.wantStats(t, 0, map[Outcome]uint64{Delivered: 2})
	})
}

func TestUnsigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, map[string]http.HandlerFunc{"hooks.example.com:80": status(200)})
		r.Start([]*Target{target(t, Settings{Secrets: []string{}})})
		r.happens(t, "one")
		got := r.hosts["hooks.example.com:80"].requests()
		if _, signed := got[0].header["Webhook-Signature"]; len(got) != 1 || signed {
			t.Errorf("%+v", got)
		}
	})
}

// What failed is tried again as it was, before what came after it.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, hook := one(t, status(http.StatusInternalServerError))
		r.happens(t, "first", "second")
		hook.becomes(status(200))
		r.wantStats(t, 2, map[Outcome]uint64{Retried: 1})
		time.Sleep(time.Second)
		synctest.Wait()
		got := hook.requests()
		if len(got) != 3 || got[0].body != got[1].body || !strings.Contains(got[2].body, "second") {
			t.Fatalf("%+v", got)
		}
		if pause := got[1].at.Sub(got[0].at); pause < 500*time.Millisecond || pause > time.Second {
			t.Errorf("tried again after %v", pause)
		}
		if err := verify(got[1].header, got[1].body, secret, wall()); err != nil {
			t.Error(err)
		}
		r.wantStats(t, 0, map[Outcome]uint64{Retried: 1, Delivered: 2})
		if r.logged("does not take") != 1 || r.logged("answered 500") != 1 || r.logged("takes notifications again") != 1 || r.logged("configured=portolan.yaml:3:5") != 2 {
			t.Errorf("logged: %s", &r.text)
		}
	})
}

func TestStatuses(t *testing.T) {
	for code, want := range map[int]Outcome{
		200: Delivered, 202: Delivered, 299: Delivered,
		301: Retried, 304: Retried, 307: Retried,
		400: Refused, 401: Retried, 403: Retried, 404: Retried, 408: Retried, 410: Refused, 413: Refused, 415: Refused, 422: Refused, 429: Retried,
		500: Retried, 501: Retried, 503: Retried, 599: Retried,
	} {
		synctest.Test(t, func(t *testing.T) {
			r, _ := one(t, status(code))
			r.happens(t, "one")
			queued := 0
			if want == Retried {
				queued = 1
			}
			r.wantStats(t, queued, map[Outcome]uint64{want: 1})
			if t.Failed() {
				t.Fatalf("status %d", code)
			}
		})
	}
}

// A refusal holds nothing up, and many are one line of the log.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, hook := one(t, status(http.StatusUnprocessableEntity))
		r.happens(t, "first", "second")
		hook.becomes(status(200))
		r.happens(t, "third")
		r.wantStats(t, 0, map[Outcome]uint64{Refused: 2, Delivered: 1})
		if r.logged("level=WARN") != 1 || r.logged("takes notifications again") != 1 {
			t.Errorf("logged: %s", &r.text)
		}
	})
}

// A receiver cannot have events sent elsewhere.
func TestRedirect(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		to := func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://elsewhere.example.com/", code)
		}
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, map[string]http.HandlerFunc{"hooks.example.com:80": to, "elsewhere.example.com:80": status(200)})
			r.Start([]*Target{target(t, Settings{})})
			r.happens(t, "one")
			time.Sleep(time.Minute)
			if n := len(r.hosts["elsewhere.example.com:80"].requests()); n != 0 {
				t.Errorf("%d: followed", code)
			}
			if len(r.hosts["hooks.example.com:80"].requests()) < 2 || r.logged("not followed") != 1 {
				t.Errorf("%d: not tried again, or not logged: %s", code, &r.text)
			}
		})
	}
}

// An attempt takes ten seconds, wherever the receiver hangs.
func TestHang(t *testing.T) {
	for what, answer := range map[string]http.HandlerFunc{
		"before the status": hang,
		"within the status": func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer c.Close()
			_, _ = c.Write([]byte("HTTP/1.1 20"))
			_, _ = io.Copy(io.Discard, c) // until the client goes
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			r, hook := one(t, answer)
			r.happens(t, "one")
			time.Sleep(timeout - time.Millisecond)
			r.wantStats(t, 1, nil)
			time.Sleep(time.Millisecond)
			synctest.Wait()
			r.wantStats(t, 1, map[Outcome]uint64{Retried: 1})
			hook.becomes(status(200))
			time.Sleep(time.Second)
			synctest.Wait()
			r.wantStats(t, 0, map[Outcome]uint64{Retried: 1, Delivered: 1})
			if r.logged("no answer within 10s") != 1 {
				t.Errorf("%s: logged: %s", what, &r.text)
			}
		})
	}
}

// A body is of no interest, however long it is or lasts.
func TestEndlessBody(t *testing.T) {
	for what, pause := range map[string]time.Duration{"fast": 0, "slow": time.Second} {
		var sent int
		endless := func(w http.ResponseWriter, r *http.Request) {
			chunk := make([]byte, 1<<10)
			for r.Context().Err() == nil {
				n, err := w.Write(chunk)
				sent += n
				if err != nil {
					return
				}
				http.NewResponseController(w).Flush()
				time.Sleep(pause)
			}
		}
		synctest.Test(t, func(t *testing.T) {
			r, _ := one(t, endless)
			r.happens(t, "one")
			time.Sleep(timeout)
			synctest.Wait()
			r.wantStats(t, 0, map[Outcome]uint64{Delivered: 1})
			if sent > 2*maxBody {
				t.Errorf("%s: %d bytes of the body were read", what, sent)
			}
		})
	}
}

func TestEndlessHeader(t *testing.T) {
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for i := range 2000 {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r, _ := one(t, endless)
		r.happens(t, "one")
		r.wantStats(t, 1, map[Outcome]uint64{Retried: 1})
	})
}

// A receiver that fails for good is asked ever more seldom, and after an hour its
// events are given up.
func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, hook := one(t, status(http.StatusServiceUnavailable))
		begin := time.Now()
		r.happens(t, "first", "second")
		time.Sleep(30 * time.Minute)
		r.happens(t, "third")
		time.Sleep(40 * time.Minute)
		got := hook.requests()
		wait, spread := time.Second, false
		for i := range len(got) - 1 {
			if pause := got[i+1].at.Sub(got[i].at); pause < wait/2 || pause > wait {
				t.Errorf("attempt %d after %v, want %v to %v", i+2, pause, wait/2, wait)
			}
			spread = spread || got[i+1].at.Sub(got[i].at) != wait
			wait = min(2*wait, 5*time.Minute)
		}
		if !spread {
			t.Error("the attempts have no jitter")
		}
		for _, req := range got {
			if !strings.Contains(req.body, "first") && req.at.Sub(begin) < time.Hour {
				t.Errorf("%s before the first was given up", req.body)
			}
		}
		if s := r.Stats(); s.Deliveries[Expired] != 2 || s.Queued != 1 || s.Deliveries[Retried] != uint64(len(got)) {
			t.Errorf("%+v", s)
		}
		hook.becomes(status(200))
		time.Sleep(5 * time.Minute)
		if s := r.Stats(); s.Deliveries[Delivered] != 1 || s.Queued != 0 {
			t.Errorf("%+v", s)
		}
		if r.logged("does not take") != 1 || r.logged("given up") != 1 || r.logged("again\" receiver=http://hooks.example.com configured=portolan.yaml:3:5 lost=2") != 1 || r.logged("level=") != 3 {
			t.Errorf("logged: %s", &r.text)
		}
	})
}

// A receiver may ask for more time, within bounds.
func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"90": 90 * time.Second, "0": time.Second, "65535": 10 * time.Minute, "99999999999": time.Second, "-5": time.Second, "soon": time.Second,
	} {
		answer := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", value)
			w.WriteHeader(http.StatusTooManyRequests)
		}
		synctest.Test(t, func(t *testing.T) {
			r, hook := one(t, answer)
			r.happens(t, "one")
			hook.becomes(status(200))
			time.Sleep(15 * time.Minute)
			got := hook.requests()
			if len(got) != 2 {
				t.Fatalf("Retry-After %s: %d requests", value, len(got))
			}
			if pause := got[1].at.Sub(got[0].at); pause > want || pause < want/2 {
				t.Errorf("Retry-After %s: %v, want %v", value, pause, want)
			}
		})
	}
}
