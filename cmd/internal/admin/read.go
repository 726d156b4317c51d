package admin

import (
	"fmt"
	"net/http"
)

func (s *Server) status(w http.ResponseWriter, r *http.Request) error {
	if _, err := params(r); err != nil {
		return err
	}
	st := s.o.API.Status()
	st.Registries = list(st.Registries)
	reply(w, http.StatusOK, st)
	return nil
}

// explain takes registry, and client (an address or a prefix: the client subnet)
// or resolver (the address that asks), or both.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) error {
	q, err := params(r, "registry", "client", "resolver")
	if err != nil {
		return err
	}
	asker, subnet, err := Clients(q.Get("client"), q.Get("resolver"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	e, err := s.o.API.Explain(q.Get("registry"), asker, subnet)
	e.Candidates, e.Lines = list(e.Candidates), list(e.Lines)
	return answer(w, e, err)
}

func (s *Server) endpoints(w http.ResponseWriter, r *http.Request) error {
	q, err := params(r, "registry")
	if err != nil {
		return err
	}
	if q.Get("registry") == "" {
		return fmt.Errorf("%w: no registry: name one, as in /v1/endpoints?registry=myregistry", ErrInvalid)
	}
	e, err := s.o.API.Endpoints(q.Get("registry"))
	e.DataEndpoints, e.RegionalEndpoints = list(e.DataEndpoints), list(e.RegionalEndpoints)
	return answer(w, e, err)
}

func (s *Server) drains(w http.ResponseWriter, r *http.Request) error {
	q, err := params(r, "registry", "region")
	if err != nil {
		return err
	}
	sel, err := selector(q)
	if err != nil {
		return err
	}
	drains, err := s.o.API.Drains(r.Context(), sel)
	return answer(w, list(drains), err)
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	q, follow, err := eventQuery(r)
	if err != nil {
		return err
	}
	if follow && r.Method == http.MethodGet {
		return s.follow(w, r, q)
	}
	events, err := s.o.API.Events(r.Context(), q)
	return answer(w, list(events), err)
}

// openAPI needs nothing of the server, but every handler has one shape.
func (*Server) openAPI(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml") // RFC 9512
	_, err := w.Write(openAPI)
	return err
}
