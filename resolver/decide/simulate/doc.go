// Command simulate shows what a way of choosing replicas does to pushes over weeks
// of failures, drains and flapping, and checks that the holds of package decide do
// what they are for.
//
//	go run ./resolver/decide/simulate [-pushes n] [-seeds n] [-days n] [-rate n]
//
// Four replicas, and per 21 days about 25 failures, 20 drains of 30 to 90 minutes,
// 12 bursts of flapping, six common outages and six blips of the prober. In a common
// outage all replicas go down within 40 seconds, and each comes back by itself after 22
// seconds to five minutes, or one after up to an hour. In a blip, of 20 to 60 seconds,
// no probe passes and nothing is the matter with the replicas. Half of both come upon
// replicas that are down, recovering or drained. Hosts push now and then: the duration is lognormal with a
// median of a minute and ends at an hour. A push resolves the global name about
// every 8 seconds, A and AAAA, through resolvers that cache for the TTL of 60
// seconds, and connects to both answers. All resolvers of a host are placed in the
// same locality: hosts whose resolvers are placed apart are torn with any algorithm.
//
// There are as many hosts of each of four kinds, which differ in what a name server
// can know of them:
//
//	one resolver   the address that asks stands for the host
//	client subnet  two or four resolvers, which say what network they ask for
//	one site       two or four resolvers that the operator has listed as one site
//	unrelated      one resolver (half of the hosts), two (30 %) or four (20 %), of which
//	               nothing says that they serve the same host
//
// A push is broken by a death when a replica that it uses is down, or was down since
// the answer that named it was given. It is broken by a voluntary change when it uses
// two replicas without such a death. The first break of a push is counted, once.
// A break between the A and the AAAA of one moment is a split. A hold is spent when
// its unit was active for two hours from the event on, the longest that anybody is
// held; what breaks then is shown apart.
//
// All algorithms see the same hosts, pushes, queries and events: which queries
// reach a name server depends on the TTL alone, not on the answers. Nothing ticks:
// the simulation goes from request to request in the order of time, so that the
// activity table is the real one with all of its units in it.
//
// A break without a death is not voluntary but of all-down when between the two answers
// a change was published that belongs to an outage of all replicas, as that name server
// saw it: that one of its members went down, within a minute before all were, or any
// change while they were, or that a member came back, within a recovery hold after the
// first. What breaks before and after it, and what another change breaks meanwhile, is
// voluntary. It is of a blip when no replica was really down; ideally nobody would be
// moved by one, but their verdicts fall up to five seconds apart, and who asks in
// between is answered another replica.
//
// A host is elsewhere when, right after an outage of all replicas during which nothing
// else changed, it would be given neither the replica that it would have been given
// right before, nor the one that is first for it. A hold is lost when that one was
// another: it asked while the replica that it was held on was down.
//
// The exit code is 1 when the holds fall short of what is promised of them; see
// check. With a -rate of hundreds a day the promise for unrelated resolvers is not
// kept: no unit falls silent, so each is held to the end and then moves on its own.
//
// At run time the server has no part of this. The command imports decide and nothing else of ours, and nothing
// imports it.
package main
