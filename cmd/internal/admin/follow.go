package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// follow writes the events that q asks for and then those that come, each a line
// of JSON, until the client goes or the server stops. Between what was and what
// comes nothing is lost and nothing is sent twice.
func (s *Server) follow(w http.ResponseWriter, r *http.Request, q EventQuery) error {
	select {
	case s.followers <- struct{}{}:
		defer func() { <-s.followers }()
	default:
		return &fault{http.StatusServiceUnavailable, "too many follow the events already: end one of them, or ask without follow"}
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()

	next, err := s.nextEvent(ctx)
	if err != nil {
		return err
	}
	past, err := s.o.API.Events(ctx, q)
	if err != nil {
		return err
	}
	coming, err := s.o.API.Follow(ctx, next)
	if err != nil {
		return err
	}
	out := newStream(w, s.stuck)
	defer context.AfterFunc(s.closing, out.abort)()
	for i := range past {
		if past[i].Seq < next && out.send(&past[i]) != nil {
			return nil // the client has gone
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-coming:
			if !ok {
				return nil
			}
			if q.matches(&e) && out.send(&e) != nil {
				return nil // the client has gone
			}
		}
	}
}

// nextEvent returns the sequence number of the first event that is not there yet.
func (s *Server) nextEvent(ctx context.Context) (uint64, error) {
	newest, err := s.o.API.Events(ctx, EventQuery{Limit: 1})
	if err != nil || len(newest) == 0 {
		return 1, err
	}
	return newest[len(newest)-1].Seq + 1, nil
}

// stream writes lines of JSON to a client that may be slow, or stopped.
type stream struct {
	control *http.ResponseController
	encoder *json.Encoder
	stuck   time.Duration
}

// newStream answers 200 and takes away the deadline of an ordinary exchange.
func newStream(w http.ResponseWriter, stuck time.Duration) *stream {
	s := &stream{http.NewResponseController(w), json.NewEncoder(w), stuck}
	_ = s.control.SetWriteDeadline(time.Time{})
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.WriteHeader(http.StatusOK)
	_ = s.control.Flush()
	return s
}

// send writes one event, or fails once the client has read nothing for too long.
func (s *stream) send(e *Event) error {
	defer time.AfterFunc(s.stuck, s.abort).Stop()
	if err := s.encoder.Encode(e); err != nil {
		return err
	}
	return s.control.Flush()
}

// abort ends a write that hangs.
func (s *stream) abort() { _ = s.control.SetWriteDeadline(time.Unix(1, 0)) }
