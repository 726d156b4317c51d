package admin

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
)

// openAPI describes the API for machines; a test holds it against the table of
// routes and the JSON types.
//
//go:embed openapi.yaml
var openAPI []byte

// handler answers a request, or returns why not before it has written anything.
type handler func(http.ResponseWriter, *http.Request) error

type route struct {
	method, path string
	handle       handler
}

// table is the whole API.
func (s *Server) table() []route {
	return []route{
		{http.MethodGet, "/v1/status", s.status},
		{http.MethodGet, "/v1/explain", s.explain},
		{http.MethodGet, "/v1/endpoints", s.endpoints},
		{http.MethodGet, "/v1/drains", s.drains},
		{http.MethodGet, "/v1/events", s.events},
		{http.MethodGet, "/v1/openapi.yaml", s.openAPI},
		{http.MethodPost, "/v1/drain", s.drain},
		{http.MethodPost, "/v1/undrain", s.undrain},
		{http.MethodPost, "/v1/routing", s.routing},
		{http.MethodPost, "/v1/failback", s.failback},
		{http.MethodPost, "/v1/reload", s.reload},
		{http.MethodPost, "/v1/upgrade", s.upgrade},
	}
}

func (s *Server) routes() http.Handler {
	paths := make(map[string]map[string]handler)
	for _, r := range s.table() {
		if paths[r.path] == nil {
			paths[r.path] = make(map[string]handler)
		}
		paths[r.path][r.method] = r.handle
	}
	mux := http.NewServeMux()
	for path, methods := range paths {
		mux.HandleFunc(path, dispatch(methods))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, &fault{http.StatusNotFound, fmt.Sprintf("%s %.128s is not part of the API: GET /v1/openapi.yaml lists what is", r.Method, r.URL.Path)})
	})
	return mux
}

// dispatch chooses by method (RFC 9110 section 15.5.6: a 405 says what is allowed).
// net/http writes no body to a HEAD, so that GET serves it.
func dispatch(methods map[string]handler) http.HandlerFunc {
	allow := slices.Sorted(maps.Keys(methods))
	if methods[http.MethodGet] != nil {
		allow = append(allow, http.MethodHead)
	}
	return func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		handle := methods[method]
		if handle == nil {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			fail(w, &fault{http.StatusMethodNotAllowed, fmt.Sprintf("%.16s is not for %s: use %s", r.Method, r.URL.Path, allow[0])})
			return
		}
		if err := handle(w, r); err != nil {
			fail(w, err)
		}
	}
}

// fault is an error that has a status of its own.
type fault struct {
	code int
	text string
}

// Error implements error.
func (f *fault) Error() string { return f.text }

// statusOf maps an error of the API to HTTP.
func statusOf(err error) int {
	var f *fault
	switch {
	case errors.As(err, &f):
		return f.code
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, ErrRefused):
		return http.StatusConflict
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout
	}
	return http.StatusInternalServerError
}

func fail(w http.ResponseWriter, err error) { reply(w, statusOf(err), Failure{err.Error()}) }

// reply writes body. A connection that breaks meanwhile concerns nobody here.
func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(body)
}

// answer replies with v, unless err says that there is none.
func answer(w http.ResponseWriter, v any, err error) error {
	if err != nil {
		return err
	}
	reply(w, http.StatusOK, v)
	return nil
}

// list makes an empty list of nil, so that JSON never says null for one.
func list[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}
