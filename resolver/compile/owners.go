package compile

import (
	"fmt"

	"portolan.dev/config"
	"portolan.dev/resolver/wire"
)

// owners makes the names of one registry in wire form, without going by way of
// their text: most names of a fleet are those of its replicas.
type owners struct {
	global   []byte
	own      []byte // the labels of the registry; empty at an apex
	zone     []byte
	regional []byte // of the replica at hand, once it is made; overwritten by that of the next
	other    []byte
}

func newOwners(r *config.Registry, global []byte) owners {
	if r.Name == config.Apex {
		return owners{global: global, zone: global}
	}
	labels := len(r.Name) + 1 // one length octet for each dot, and one in front
	return owners{global: global, own: global[:labels], zone: global[labels:]}
}

// in appends the name below geo or data for the region with a label. Registries and
// regions have names of letters, digits and hyphens, which need no escapes.
func (o *owners) in(dst []byte, label, kind string) ([]byte, error) {
	dst = append(dst, o.own...)
	for _, text := range [...]string{label, kind} {
		dst = append(append(dst, byte(len(text))), text...)
	}
	dst = append(dst, o.zone...)
	if len(dst) > wire.MaxName {
		return nil, fmt.Errorf("%s is over 255 octets: shorten the name", wire.AppendName(nil, dst))
	}
	return dst, nil
}

// replicaNames defines the regional and the data name of a replica, where the
// registry has them, and leaves the regional one in o.
func (b *builder) replicaNames(zoneID int, r *config.Registry, replica *config.Replica, o *owners) (err error) {
	label := config.Label(replica.Region)
	ttl := seconds(r.RegionalTTL)
	if r.RegionalEndpoints {
		if o.regional, err = o.in(o.regional[:0], label, "geo"); err != nil {
			return err
		}
		if err = b.define(zoneID, o.regional, replica.Addresses, replica.Target, ttl); err != nil {
			return err
		}
	}
	if r.DataEndpoints && replica.Data != nil {
		if o.other, err = o.in(o.other[:0], label, "data"); err != nil {
			return err
		}
		return b.define(zoneID, o.other, replica.Data.Addresses, replica.Data.Target, ttl)
	}
	return nil
}
