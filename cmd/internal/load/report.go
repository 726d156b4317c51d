package load

import (
	"time"

	"github.com/miekg/dns"
)

// Report is what a run measured. Sent = Answered + Lost; what was due in the
// warm-up is in none of them.
type Report struct {
	Server    string `json:"server"`
	Transport string `json:"transport"` // udp or tcp
	// Rate is the queries a second that were asked for, 0 in a closed loop.
	Rate     int     `json:"rate"`
	InFlight int     `json:"in_flight"`
	Seconds  float64 `json:"seconds"` // measured
	// PerSecond counts the answers that came within the measured time.
	PerSecond float64 `json:"answers_per_second"`
	Sent      uint64  `json:"sent"`
	Answered  uint64  `json:"answered"`
	Lost      uint64  `json:"lost"`
	// Unsent are queries that were due and never had room: InFlight was reached.
	Unsent uint64 `json:"unsent"`
	// Failed are queries that the system refused to send; they are lost too.
	Failed uint64 `json:"failed"`
	// Stray are messages that answered nothing in flight: late, twice, or forged.
	Stray       uint64            `json:"stray"`
	Truncated   uint64            `json:"truncated"`
	Connections uint64            `json:"connections,omitempty"` // made in place of others
	MeanOctets  float64           `json:"mean_octets"`           // of an answer
	Rcodes      map[string]uint64 `json:"rcodes"`
	Latency     Latency           `json:"latency"`
	// Busy is the share of the time in which the generator had something to do.
	// Near 1 it is the limit, not the server.
	Busy float64 `json:"generator_busy"`
	// Error is the first error of a socket, "" for none.
	Error string `json:"error,omitempty"`
}

// Latency is in microseconds. At a fixed rate it counts from when a query was due,
// in a closed loop from when it was sent.
type Latency struct {
	Min  float64 `json:"min_us"`
	Mean float64 `json:"mean_us"`
	P50  float64 `json:"p50_us"`
	P90  float64 `json:"p90_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p99_9_us"`
	Max  float64 `json:"max_us"`
}

// report adds up what the threads have counted.
func report(o *Options, threads []*thread) *Report {
	r := &Report{
		Server: o.Server.String(), Transport: "udp", Rate: o.Rate, InFlight: o.InFlight,
		Seconds: o.Duration.Seconds(), Rcodes: map[string]uint64{},
	}
	if o.TCP {
		r.Transport = "tcp"
	}
	latency := new(histogram)
	var answers, octets uint64
	var busy int64
	for _, t := range threads {
		c := &t.tally
		latency.merge(&c.latency)
		answers, octets, busy = answers+c.answers, octets+c.octets, busy+c.busy
		r.Sent += c.sent
		r.Lost += c.lost
		r.Unsent += c.unsent
		r.Failed += c.failed
		r.Stray += c.stray
		r.Truncated += c.cut
		r.Connections += c.dials
		for code, n := range c.rcodes {
			if n > 0 {
				r.Rcodes[dns.RcodeToString[code]] += n
			}
		}
		if c.firstErr != nil && r.Error == "" {
			r.Error = c.firstErr.Error()
		}
	}
	r.Answered = latency.n
	r.PerSecond = float64(answers) / r.Seconds
	if answers > 0 {
		r.MeanOctets = float64(octets) / float64(answers)
	}
	r.Busy = float64(busy) / float64(o.Duration) / float64(len(threads))
	r.Latency = Latency{
		Min: micros(time.Duration(latency.min)), Mean: micros(latency.mean()),
		P50: micros(latency.quantile(0.50)), P90: micros(latency.quantile(0.90)), P99: micros(latency.quantile(0.99)),
		P999: micros(latency.quantile(0.999)), Max: micros(time.Duration(latency.max)),
	}
	return r
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
