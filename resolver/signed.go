package resolver

import (
	"net/netip"

	"portolan.dev/resolver/wire"
)

// Stream answers msg, which came over a stream, if it asks for a zone that the asker
// may have: it calls send for each message of the response, in order, and stops when
// that fails. It reports whether msg was such a one; all others are for
// [Worker.Answer].
func (w *Worker) Stream(msg []byte, from netip.AddrPort, now int64, send func([]byte) error) (taken bool) {
	s := w.resolver.current.Load()
	return s.Transfers != nil && wire.WantsTransfer(msg) && s.Transfers.Serve(msg, from, s.Wall.seconds(now), send)
}

// signed answers a query with a TSIG record where keys are configured. It allocates:
// secondaries ask so, and whoever has no key gets no further than its name.
func (w *Worker) signed(p *reply, dst []byte, from netip.AddrPort, now int64) ([]byte, bool) {
	if p.s.Transfers == nil || p.q.Rcode != wire.RcodeNotAuth {
		return dst, false
	}
	out := p.s.Transfers.Answer(dst, p.q.Message(), p.s.Wall.seconds(now), func(msg []byte, room int) []byte {
		var p reply
		p.s, p.room = w.resolver.current.Load(), room
		return w.answer(&p, p.q.Parse(msg), nil, from, now)
	})
	return out, len(out) > len(dst)
}
