package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// jsonPath leads from a JSON value to one inside it: "data.services[0].up".
type jsonPath []jsonStep

// jsonStep is the name of a member, or the index of an element.
type jsonStep struct {
	name    string
	index   int
	element bool
}

// maxIndex is the greatest index of an element: no array in maxBody has more.
const maxIndex = maxBody

// parseJSONPath reads a dotted path: names of members divided by dots, each
// followed by any number of [n]; the first name may be left out. There is no way to
// name a member that has a dot or a bracket in its name.
func parseJSONPath(text string) (jsonPath, error) {
	if text == "" {
		return nil, errors.New("is empty: write the names of members, as in status or components[0].status")
	}
	var path jsonPath
	for i, part := range strings.Split(text, ".") {
		name, brackets, _ := strings.Cut(part, "[")
		indexed := len(name) < len(part)
		if name != "" {
			path = append(path, jsonStep{name: name})
		} else if i > 0 || !indexed {
			return nil, errors.New("has an empty name")
		}
		for indexed {
			digits, rest, closed := strings.Cut(brackets, "]")
			n, err := strconv.ParseUint(digits, 10, 32)
			if err != nil || n > maxIndex || !closed {
				return nil, fmt.Errorf("%q is no index: write [0] to [%d]", "["+brackets, maxIndex)
			}
			path = append(path, jsonStep{index: int(n), element: true})
			if rest == "" {
				break
			}
			if brackets, indexed = strings.CutPrefix(rest, "["); !indexed {
				return nil, fmt.Errorf("%q follows an index: a dot is missing", rest)
			}
		}
		if strings.Contains(name, "]") {
			return nil, errors.New("has a ] without its [")
		}
	}
	return path, nil
}

// decodeJSON reads body as one JSON value and nothing else. Numbers keep the
// spelling they have.
func decodeJSON(body []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var root any
	if err := d.Decode(&root); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return root, nil
}

// text returns the value the path leads to from root, written as text: a string
// without its quotes; a number, true, false or null as it is in JSON.
func (p jsonPath) text(root any) (string, error) {
	at := root
	for _, step := range p {
		switch v := at.(type) {
		case map[string]any:
			next, ok := v[step.name]
			if step.element || !ok {
				return "", errors.New("is not there")
			}
			at = next
		case []any:
			if !step.element || step.index >= len(v) {
				return "", errors.New("is not there")
			}
			at = v[step.index]
		default:
			return "", errors.New("is not there")
		}
	}
	switch v := at.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case nil:
		return "null", nil
	default:
		return "", errors.New("is an object or an array, not a value")
	}
}
