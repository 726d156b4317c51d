package ledger

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeEvent(t *testing.T) {
	for _, tc := range []struct{ name, in, fails string }{
		{"unknown members and kind", `{"v":1,"seq":3,"kind":"promote","decided_at":"2026-03-01T12:00:00+01:00","effective_at":"2026-03-01T12:00:00Z","votes":[1]}`, ""},
		{"other schema", `{"v":2,"seq":3,"kind":"start"}`, "schema version 2"},
		{"no schema", `{"seq":3,"kind":"start"}`, "schema version 0"},
		{"cut off", `{"v":1,"seq":3,"kind":"sta`, "unexpected end"},
		{"no kind", `{"v":1,"seq":3}`, "without a kind"},
		{"no endpoint", `{"v":1,"seq":3,"kind":"down"}`, "without an endpoint"},
		{"not a time", `{"v":1,"seq":3,"kind":"start","decided_at":"noon"}`, "noon"},
		{"before the year 1 in UTC", `{"v":1,"kind":"start","decided_at":"0001-01-01T00:00:00+01:00"}`, "year 0"},
		{"too large", `{"v":1,"kind":"start","x":"` + strings.Repeat("x", maxRecord) + `"}`, "at most"},
		{"empty", "", "unexpected end"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := decodeEvent([]byte(tc.in))
			if tc.fails == "" && err != nil || tc.fails != "" && (err == nil || !strings.Contains(err.Error(), tc.fails)) {
				t.Errorf("got %v, want %q", err, tc.fails)
			}
		})
	}
}

// The names in the file are a contract with files that exist.
func TestEncodedForm(t *testing.T) {
	off := false
	e, err := Event{Seq: 7, Kind: Routing, Registry: "r", Region: "x", By: "me", Why: "so", Routing: &off}.normalized(newClock().now())
	if err != nil {
		t.Fatal(err)
	}
	got, err := encodeEvent(e)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"v":1,"seq":7,"kind":"routing","registry":"r","region":"x","decided_at":"2026-03-01T11:00:00.123456789Z",` +
		`"effective_at":"2026-03-01T11:00:00.123456789Z","by":"me","why":"so","routing":false}`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
}

// A record is bound to its bucket and key: moved elsewhere it is damage.
func TestSeal(t *testing.T) {
	v := seal("state", []byte("key"), []byte("payload"))
	if p, err := unseal("state", []byte("key"), v); err != nil || string(p) != "payload" {
		t.Errorf("got %q, %v", p, err)
	}
	for _, tc := range []struct {
		bucket, key string
		value       []byte
	}{
		{"base", "key", v},
		{"state", "kez", v},
		{"statek", "ey", v},
		{"state", "keyp", append(v[:4:4], v[5:]...)},
		{"state", "key", v[:len(v)-1]},
		{"state", "key", append(slices.Clip(v), 0)},
		{"state", "key", v[:3]},
		{"state", "key", nil},
	} {
		if _, err := unseal(tc.bucket, []byte(tc.key), tc.value); err == nil {
			t.Errorf("%s %s %x passes", tc.bucket, tc.key, tc.value)
		}
	}
}

func TestEntryKeys(t *testing.T) {
	for _, en := range []entry{
		{area: areaReplica, subject: Subject{"r", "x"}},
		{area: areaReplica, subject: Subject{"replica", ""}},
		{area: areaHealth, name: "192.0.2.1:443"},
		{area: areaConfig},
		{area: areaGeoData},
	} {
		if got, err := entryOfKey(en.key()); err != nil || got != en {
			t.Errorf("%q: got %v, %v", en.key(), got, err)
		}
	}
	for _, key := range []string{"", "replica", "replica\x00r", "health", "health\x00a\x00b", "config\x00", "votes\x00a"} {
		if en, err := entryOfKey([]byte(key)); err == nil {
			t.Errorf("%q passes as %v", key, en)
		}
	}
}

// FuzzDecodeEvent: what decodes, encodes to something that decodes to the same,
// and can be folded.
func FuzzDecodeEvent(f *testing.F) {
	f.Fuzz(func(t *testing.T, payload []byte) {
		e, err := decodeEvent(payload)
		if err != nil {
			return
		}
		again, err := encodeEvent(e)
		if err != nil {
			t.Fatalf("%+v does not encode: %v", e, err)
		}
		if len(again) > maxRecord {
			return // unknown escapes grew; Append would not have taken it
		}
		back, err := decodeEvent(again)
		if err != nil {
			t.Fatalf("%s does not decode: %v", again, err)
		}
		if d := cmp.Diff(e, back); d != "" {
			t.Fatal(d)
		}
		e.Seq = max(e.Seq, 1)
		storeEntry(t, e)
	})
}

// storeEntry demands that what e folds to is read back as it was.
func storeEntry(t *testing.T, e Event) {
	t.Helper()
	var s State
	s.Apply(e)
	en, ok := entryOf(e)
	if !ok {
		return
	}
	if got, err := entryOfKey(en.key()); err != nil || got != en {
		t.Fatalf("entry %v has key %q: %v, %v", en, en.key(), got, err)
	}
	payload, err := en.encode(&s)
	if err != nil {
		t.Fatal(err)
	}
	if payload == nil || len(payload) > maxRecord {
		return
	}
	loaded := State{Seq: s.Seq}
	if err := en.decode(&loaded, payload); err != nil {
		t.Fatal(err)
	}
	if d := diffState(s, loaded); d != "" {
		t.Fatal(d)
	}
}
