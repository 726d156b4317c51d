package admin

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// ReplicasRequest names replicas and who wants something of them: the body of an
// undrain and of a failback.
type ReplicasRequest struct {
	Selector

	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// ReloadRequest is the body of a reload.
type ReloadRequest struct {
	DryRun bool `json:"dry_run,omitempty"`
	// Force lets active clients lose the addresses of their replica.
	Force bool `json:"force,omitempty"`
}

// UpgradeRequest is the body of an upgrade.
type UpgradeRequest struct {
	// Force is that of a [ReloadRequest], for what the configuration has changed.
	Force bool `json:"force,omitempty"`
}

// lasting is the context of a change: once its request has been read whole, a
// client that goes away does not end it half way. Nor does a change that takes
// its time lose its reply to the deadline of an ordinary exchange.
func lasting(w http.ResponseWriter, r *http.Request) context.Context {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	return context.WithoutCancel(r.Context())
}

// region asks a change for a region: to mean all of them takes a word.
func (s Selector) region() error {
	if s.Region == "" {
		return fmt.Errorf(`%w: no region: name one, or a glob such as "*" for all`, ErrInvalid)
	}
	return s.Check()
}

func (s *Server) drain(w http.ResponseWriter, r *http.Request) error {
	var body DrainRequest
	if _, err := decode(w, r, &body); err != nil {
		return err
	}
	if err := body.region(); err != nil {
		return err
	}
	if body.Now && body.Deadline > 0 {
		return fmt.Errorf("%w: now and deadline exclude each other: now ends the holds at once", ErrInvalid)
	}
	body.By = by(r, body.By)
	drains, err := s.o.API.Drain(lasting(w, r), body)
	return answer(w, list(drains), err)
}

func (s *Server) undrain(w http.ResponseWriter, r *http.Request) error {
	body, err := replicas(w, r)
	if err != nil {
		return err
	}
	drains, err := s.o.API.Undrain(lasting(w, r), body.Selector, body.By, body.Reason)
	return answer(w, list(drains), err)
}

func (s *Server) failback(w http.ResponseWriter, r *http.Request) error {
	body, err := replicas(w, r)
	if err != nil {
		return err
	}
	statuses, err := s.o.API.Failback(lasting(w, r), body.Selector, body.By, body.Reason)
	return answer(w, list(statuses), err)
}

func replicas(w http.ResponseWriter, r *http.Request) (ReplicasRequest, error) {
	var body ReplicasRequest
	if _, err := decode(w, r, &body); err != nil {
		return body, err
	}
	body.By = by(r, body.By)
	return body, body.region()
}

// routing asks for the member global_endpoint_routing to be there, because null
// means something: back to the configuration.
func (s *Server) routing(w http.ResponseWriter, r *http.Request) error {
	var body RoutingRequest
	given, err := decode(w, r, &body)
	if err != nil {
		return err
	}
	for _, name := range []string{"registry", "region", "global_endpoint_routing"} {
		if !given[name] {
			return fmt.Errorf("%w: no %s: give registry, region and global_endpoint_routing (true, false, or null for what the configuration says)", ErrInvalid, name)
		}
	}
	body.By = by(r, body.By)
	status, err := s.o.API.SetRouting(lasting(w, r), body)
	return answer(w, status, err)
}

// reload answers 422 for a configuration that does not load: the request was
// sound, what it pointed at was not.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) error {
	var body ReloadRequest
	if _, err := decode(w, r, &body); err != nil {
		return err
	}
	report, err := s.o.API.Reload(lasting(w, r), body)
	if err != nil && statusOf(err) == http.StatusInternalServerError {
		err = &fault{http.StatusUnprocessableEntity, err.Error()}
	}
	report.Changes, report.Restart = list(report.Changes), list(report.Restart)
	return answer(w, report, err)
}

// upgrade answers 422 when the next process did not come up.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) error {
	var body UpgradeRequest
	if _, err := decode(w, r, &body); err != nil {
		return err
	}
	report, err := s.o.API.Upgrade(lasting(w, r), body)
	if err != nil && statusOf(err) == http.StatusInternalServerError {
		err = &fault{http.StatusUnprocessableEntity, err.Error()}
	}
	return answer(w, report, err)
}
