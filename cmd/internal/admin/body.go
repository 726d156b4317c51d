package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
)

// decode reads the body of a request that changes something into v, a pointer to
// its type, whole and strictly: nothing is done on half of what was meant. It
// returns which members were given.
//
// No more than maxBody is ever read, and the time for it is bounded by the server's
// ReadTimeout. Asking for the media type keeps out what a browser can be made to
// send to another origin unasked.
func decode(w http.ResponseWriter, r *http.Request, v any) (map[string]bool, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, &fault{http.StatusUnsupportedMediaType, "the body must be JSON: send it with Content-Type: application/json"}
	}
	body, err := readBody(w, r)
	if err != nil {
		return nil, err
	}
	given, err := members(body)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		err = d.Decode(v)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the body: %w: GET /v1/openapi.yaml says what it holds", ErrInvalid, err)
	}
	return given, nil
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// Not even a Content-Length that says too much is refused before that: only
	// MaxBytesReader makes net/http wait until the client has read why.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var exceeded *http.MaxBytesError
	switch {
	case errors.As(err, &exceeded):
		return nil, &fault{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is too large: at most %d octets are read", maxBody)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &fault{http.StatusRequestTimeout, "the body did not come in time: nothing was changed; send it at once"}
	case err != nil:
		return nil, fmt.Errorf("%w: the body ends too soon: %w: nothing was changed", ErrInvalid, err)
	}
	return body, nil
}

// members returns the names in the one JSON object that body must be. What
// encoding/json would let pass is refused: null, which leaves every field as it
// is, and so would select everything; a name twice, of which the last would win;
// a name in other letters; and anything behind the object.
func members(body []byte) (map[string]bool, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	open, err := d.Token()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty")
	}
	if err != nil {
		return nil, err
	}
	if open != json.Delim('{') {
		return nil, errors.New("it is no object")
	}
	given := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string) // a name is a string, or Token has failed
		if given[name] {
			return nil, fmt.Errorf("%.64q is given twice", name)
		}
		if name != strings.ToLower(name) {
			return nil, fmt.Errorf("unknown field %.64q", name)
		}
		given[name] = true
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the object")
	}
	return given, nil
}
