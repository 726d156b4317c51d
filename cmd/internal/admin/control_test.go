package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/user"
	"strings"
	"sync"
	"testing"
)

// Every route: what reaches the API and what comes back.
func TestControlRoutes(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Skip("this system does not say who runs the test")
	}
	for _, tt := range []struct {
		name, method, target, body string
		code                       int
		asked                      string // "" for nothing
		says                       string // in the body
	}{
		{"status", "GET", "/v1/status", "", 200, "status", `"registries": []`},
		{"head", "HEAD", "/v1/status", "", 200, "status", ""},
		{"status with a parameter", "GET", "/v1/status?registry=a", "", 400, "", `parameter \"registry\" is not known: use none`},
		{"explain", "GET", "/v1/explain?registry=r&client=192.0.2.7", "", 200, "explain r 192.0.2.0 192.0.2.0/24", `"candidates": []`},
		{"explain nobody", "GET", "/v1/explain?registry=r", "", 400, "", "nobody asks"},
		{"endpoints", "GET", "/v1/endpoints?registry=r", "", 200, "endpoints r", `"regionalEndpoints": []`},
		{"endpoints of none", "GET", "/v1/endpoints", "", 400, "", "no registry: name one"},
		{"drains", "GET", "/v1/drains?region=west*", "", 200, "drains {Registry: Region:west*}", "[]"},
		{"drains by a bad glob", "GET", "/v1/drains?region=%5B", "", 400, "", "is no pattern"},
		{"drains misspelled", "GET", "/v1/drains?regoin=west", "", 400, "", "use registry, region"},
		{"drains twice", "GET", "/v1/drains?region=a&region=b", "", 400, "", "given 2 times"},
		{"bad query", "GET", "/v1/drains?region=%zz", "", 400, "", "encode it"},
		{
			"drain", "POST", "/v1/drain", `{"region":"eastus","registry":"r","deadline":"10m","for":"2h0m","force":true,"by":"ann","reason":"why"}`, 200,
			"drain {Selector:{Registry:r Region:eastus} Deadline:10m0s For:2h0m0s Now:false Force:true By:ann Reason:why} cancelable false", `"drained": true`,
		},
		{
			"drain by the peer", "POST", "/v1/drain", `{"region":"*","now":true}`, 200,
			"drain {Selector:{Registry: Region:*} Deadline:0s For:0s Now:true Force:false By:" + me.Username + " Reason:} cancelable false", `"by": "` + me.Username,
		},
		{"drain without a region", "POST", "/v1/drain", `{"registry":"r"}`, 400, "", "no region: name one, or a glob"},
		{"drain by a bad glob", "POST", "/v1/drain", `{"region":"["}`, 400, "", "is no pattern"},
		{"drain now with a deadline", "POST", "/v1/drain", `{"region":"a","now":true,"deadline":"1m"}`, 400, "", "exclude each other"},
		{"drain with a bad duration", "POST", "/v1/drain", `{"region":"a","for":"soon"}`, 400, "", "invalid duration"},
		{"drain backwards", "POST", "/v1/drain", `{"region":"a","for":"-1m"}`, 400, "", "below zero"},
		{"undrain", "POST", "/v1/undrain", `{"region":"a","by":"ann","reason":"done"}`, 200, "undrain {Registry: Region:a} ann done", "[]"},
		{"undrain everything by accident", "POST", "/v1/undrain", `{}`, 400, "", "no region"},
		{"routing off", "POST", "/v1/routing", `{"registry":"r","region":"a","global_endpoint_routing":false,"by":"ann"}`, 200, "routing r a false force false by ann: ", `"region": "a"`},
		{"routing by the file", "POST", "/v1/routing", `{"registry":"r","region":"a","global_endpoint_routing":null,"by":"ann"}`, 200, "routing r a nil force false by ann: ", ""},
		{"routing without a value", "POST", "/v1/routing", `{"registry":"r","region":"a"}`, 400, "", "no global_endpoint_routing"},
		{"failback", "POST", "/v1/failback", `{"region":"a","registry":"r","by":"ann"}`, 200, "failback {Registry:r Region:a} ann ", "[]"},
		{"failback of none", "POST", "/v1/failback", `{"registry":"r"}`, 400, "", "no region"},
		{
			"events", "GET", "/v1/events?registry=r&region=a&kind=drain&from=3&since=2026-03-01T12:00:00Z&limit=7", "", 200,
			`events {Registry:r Region:a} from 3 since 2026-03-01T12:00:00Z kind "drain" limit 7`, "[]",
		},
		{"events from nowhere", "GET", "/v1/events?from=-1", "", 400, "", "is no sequence number"},
		{"events since when", "GET", "/v1/events?since=yesterday", "", 400, "", "is no time: write it like"},
		{"events without end", "GET", "/v1/events?limit=100001", "", 400, "", "from 1 to 100000"},
		{"events follow what", "GET", "/v1/events?follow=yes", "", 400, "", "give 1, or leave it out"},
		{"events of a bad glob", "GET", "/v1/events?registry=%5B", "", 400, "", "is no pattern"},
		{"reload", "POST", "/v1/reload", `{}`, 200, "reload false cancelable false", `"changes": []`},
		{"reload dry", "POST", "/v1/reload", `{"dry_run":true}`, 200, "reload true cancelable false", `"dry_run": true`},
		{"openapi", "GET", "/v1/openapi.yaml", "", 200, "", "openapi: 3.1.0"},
		{"nothing there", "GET", "/v2/", "", 404, "", "GET /v1/openapi.yaml lists what is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			api := &controlAPI{}
			_, path := controlServer(t, api, nil)
			contentType := ""
			if tt.method == http.MethodPost {
				contentType = "application/json; charset=utf-8"
			}
			got := controlAsk(t, path, tt.method, tt.target, contentType, strings.NewReader(tt.body))
			if got.code != tt.code || api.asked() != tt.asked || !strings.Contains(got.body, tt.says) {
				t.Errorf("%d, asked %q, body %s\nwant %d, asked %q, body with %q", got.code, api.asked(), got.body, tt.code, tt.asked, tt.says)
			}
			if tt.code != http.StatusOK {
				var f Failure
				if err := json.Unmarshal([]byte(got.body), &f); err != nil || f.Error == "" {
					t.Errorf("the body of a failure is %s: %v", got.body, err)
				}
			}
		})
	}
}

// Errors of the API become statuses, and errors of the same kind in the client.
func TestControlErrors(t *testing.T) {
	for _, tt := range []struct {
		err    error
		code   int // of a drain
		reload int // of a reload
		is     error
	}{
		{fmt.Errorf("registry %q is %w: try a", "x", ErrNotFound), 404, 404, ErrNotFound},
		{fmt.Errorf("%w: no", ErrInvalid), 400, 400, ErrInvalid},
		{fmt.Errorf("%w: the last replica: use force", ErrRefused), 409, 409, ErrRefused},
		{errors.New("a.yaml:1:1: bad\na.yaml:2:2: bad, too"), 500, 422, nil},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			_, path := controlServer(t, &controlAPI{err: tt.err}, nil)
			c := NewClient(path)
			for what, got := range map[string]error{
				"drain":  second(c.Drain(t.Context(), DrainRequest{Selector: Selector{Region: "a"}})),
				"reload": second(c.Reload(t.Context(), ReloadRequest{})),
			} {
				want := tt.code
				if what == "reload" {
					want = tt.reload
				}
				st, ok := errors.AsType[*StatusError](got)
				if !ok || st.Code != want || st.Text != tt.err.Error() {
					t.Errorf("%s: %#v, want %d %s", what, got, want, tt.err)
				}
				for _, sentinel := range []error{ErrNotFound, ErrInvalid, ErrRefused} {
					if errors.Is(got, sentinel) != (sentinel == tt.is) { //nolint:errorlint // which of the three
						t.Errorf("%s: %v is %v", what, got, sentinel)
					}
				}
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func TestControlMethods(t *testing.T) {
	_, path := controlServer(t, &controlAPI{}, nil)
	for _, tt := range []struct{ method, target, allow string }{
		{"POST", "/v1/status", "GET, HEAD"},
		{"DELETE", "/v1/events", "GET, HEAD"},
		{"GET", "/v1/drain", "POST"},
		{"HEAD", "/v1/reload", "POST"},
		{"PUT", "/v1/routing", "POST"},
		{"OPTIONS", "/v1/undrain", "POST"},
	} {
		got := controlAsk(t, path, tt.method, tt.target, "", nil)
		if got.code != http.StatusMethodNotAllowed || got.head.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d, Allow %q, %s; want 405, Allow %q", tt.method, tt.target, got.code, got.head.Get("Allow"), got.body, tt.allow)
		}
	}
}

// Every call of the client arrives, and its answer comes back.
func TestControlClient(t *testing.T) {
	api := &controlAPI{past: []Event{{Seq: 4, Kind: "drain", DecidedAt: controlTime}}}
	_, path := controlServer(t, api, nil)
	c, ctx := NewClient(path), t.Context()
	on, since := true, controlTime
	for what, err := range map[string]error{
		"status":   second(c.Status(ctx)),
		"explain":  second(c.Explain(ctx, "r", "192.0.2.7", "")),
		"ends":     second(c.Endpoints(ctx, "r")),
		"drains":   second(c.Drains(ctx, Selector{Registry: "r*"})),
		"undrain":  second(c.Undrain(ctx, Selector{Region: "a"}, "ann", "x y")),
		"routing":  second(c.SetRouting(ctx, RoutingRequest{Registry: "r", Region: "a", On: &on, By: "ann"})),
		"failback": second(c.Failback(ctx, Selector{Region: "a"}, "ann", "")),
		"reload":   second(c.Reload(ctx, ReloadRequest{DryRun: true})),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if d, err := c.Drain(ctx, DrainRequest{Selector: Selector{"r", "a"}, By: "ann"}); err != nil || len(d) != 1 || !d[0].Drained || !d[0].EffectiveAt.Equal(controlTime) {
		t.Errorf("drain: %+v, %v", d, err)
	}
	q := EventQuery{Selector: Selector{"", ""}, From: 2, Since: &since, Kind: "drain", Limit: 5}
	if e, err := c.Events(ctx, q); err != nil || len(e) != 1 || e[0].Seq != 4 {
		t.Errorf("events: %+v, %v", e, err)
	}
	for _, want := range []string{
		"undrain {Registry: Region:a} ann x y", "routing r a true force false by ann: ", "drains {Registry:r* Region:}",
		`events {Registry: Region:} from 2 since 2026-03-01T12:00:00Z kind "drain" limit 5`, "reload true cancelable false",
	} {
		if !strings.Contains(api.asked(), want) {
			t.Errorf("the API was not asked %q, but\n%s", want, api.asked())
		}
	}
	_, err := NewClient(path + ".not").Status(ctx)
	if err == nil || !strings.Contains(err.Error(), "is it running, and is that its admin.socket?") {
		t.Errorf("no server: %v", err)
	}
}

// Many drains at once all arrive.
func TestControlConcurrentDrains(t *testing.T) {
	api := &controlAPI{}
	_, path := controlServer(t, api, nil)
	c := NewClient(path)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			if _, err := c.Drain(t.Context(), DrainRequest{Selector: Selector{Region: fmt.Sprint("r", i)}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := strings.Count(api.asked(), "drain "); n != 32 {
		t.Errorf("%d of 32 drains have arrived", n)
	}
}
