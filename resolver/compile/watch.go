package compile

import (
	"math/bits"
	"slices"

	"portolan.dev/health"
)

// Member names one replica of the snapshot.
type Member struct {
	Registry int   // index in Snapshot.Registries
	Region   uint8 // region number
}

// watches says which endpoint decides for the health of which replicas, in both
// directions. Fleets have hundreds of thousands of replicas, so it is flat.
type watches struct {
	number map[string]uint32 // of an endpoint by its key
	// endpoint, by replica number of the snapshot, is 1 + the number of what decides
	// for its health; 0 for a replica that is not probed.
	endpoint []uint32
	members  []Member // those of one endpoint stand together
	first    []uint32 // where those of an endpoint begin, and a last one behind all
}

// endpoint returns 1 + the number of an endpoint, adding it if it is new.
func (r *Result) endpoint(e health.Endpoint) uint32 {
	if n, known := r.watches.number[e.Key]; known {
		return n + 1
	}
	r.watches.number[e.Key] = uint32(len(r.Endpoints))
	r.Endpoints = append(r.Endpoints, e)
	return uint32(len(r.Endpoints))
}

// watch fixes which endpoint decides for which replica.
func (r *Result) watch(endpoint []uint32) {
	w := &r.watches
	w.endpoint, w.first = endpoint, make([]uint32, len(r.Endpoints)+1)
	for _, e := range endpoint {
		if e != 0 {
			w.first[e]++
		}
	}
	for i := range r.Endpoints {
		w.first[i+1] += w.first[i]
	}
	w.members = make([]Member, w.first[len(r.Endpoints)])
	next := slices.Clone(w.first)
	s := r.Snapshot
	for i := range s.Registries {
		number := s.Registries[i].First
		for m := uint64(s.Registries[i].Configured); m != 0; m &= m - 1 {
			if e := endpoint[number]; e != 0 {
				w.members[next[e-1]] = Member{Registry: i, Region: uint8(bits.TrailingZeros64(m))}
				next[e-1]++
			}
			number++
		}
	}
}

// EndpointOf returns the index in Endpoints of what decides for the health of a
// replica; -1 for one that is not probed.
func (r *Result) EndpointOf(m Member) int {
	return int(r.watches.endpoint[r.Snapshot.ReplicaNumber(m.Registry, m.Region)]) - 1
}

// EndpointIndex returns the index in Endpoints of the endpoint with a key; -1 for
// none.
func (r *Result) EndpointIndex(key string) int {
	if n, ok := r.watches.number[key]; ok {
		return int(n)
	}
	return -1
}

// Members returns the replicas whose availability the endpoint with a key decides,
// in the order of the configuration; empty if there is no such endpoint. The slice
// aliases the result.
func (r *Result) Members(key string) []Member {
	n, ok := r.watches.number[key]
	if !ok {
		return nil
	}
	return r.watches.members[r.watches.first[n]:r.watches.first[n+1]]
}
