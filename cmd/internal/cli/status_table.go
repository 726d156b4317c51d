package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"portolan.dev/cmd/internal/admin"
)

func statusTable(w io.Writer, st *admin.Status, now time.Time) {
	fmt.Fprintf(w, "node %s, version %s, generation %d, started %s\n", st.Node, st.Version, st.Generation, stamp(st.Started))
	fmt.Fprintf(w, "location data: %s, built %s (%s old)\n", st.GeoSource, st.GeoBuilt.UTC().Format(time.DateOnly), age(now.Sub(st.GeoBuilt)))
	fmt.Fprintf(w, "ledger: event %d; client units remembered: %d\n", st.Ledger, st.Units)
	fmt.Fprintf(w, "sandbox: %s\n", st.Sandbox)
	fmt.Fprintf(w, "prober: %s\n", proberText(&st.Prober))
	if r := st.UnitsAtRisk; r != nil {
		fmt.Fprintf(w, "warning: clients are not in shared memory (%s): a kill forgets those first answered in the last %gs\n", r.Reason, r.Seconds)
	}
	if st.LedgerError != "" {
		fmt.Fprintf(w, "warning: the ledger cannot be written, and changes are refused: %s\n", st.LedgerError)
	}
	fmt.Fprintln(w, "\nREGISTRY\tREGION\tGLOBAL ROUTING\tHEALTH\tSINCE\tDRAIN\tHELD\t1 MIN\t10 MIN\tLAST PROBE")
	for _, r := range st.Registries {
		for i := range r.Replicas {
			statusRow(w, r.Registry, &r.Replicas[i], now)
		}
	}
	unheld(w, st.Registries)
}

func statusRow(w io.Writer, registry string, r *admin.ReplicaStatus, now time.Time) {
	routed := strconv.FormatBool(r.Routed)
	if r.RoutingBy != "" {
		routed += " by " + r.RoutingBy
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", registry, r.Region, routed, healthText(r, now), stampOf(r.Since),
		drainText(r.Drain, now), r.Held, percent(r.Share1m), percent(r.Share10m), orDash(r.Last))
}

// healthText is what health knows of a replica, and what that means for its registry.
func healthText(r *admin.ReplicaStatus, now time.Time) string {
	state := r.State
	switch {
	case r.LastResort && r.Drain == nil: // a drain says so itself
		state += ", last resort"
	case r.State == "recovering" && r.Up:
		state += ", back after the outage"
	case r.EligibleAt != nil:
		state += " until " + clock(*r.EligibleAt, now)
	}
	if r.Flaps > 1 {
		state += fmt.Sprintf(", %d flaps", r.Flaps)
	}
	if r.UnseenSince != nil {
		state += ", not seen for " + age(now.Sub(*r.UnseenSince))
	}
	if r.CertificateEndsSoon {
		state += ", certificate ends " + r.CertificateEnds.UTC().Format(time.DateOnly)
	}
	return state + addressesText(r.Addresses) + targetText(r.Target, now)
}

// maxShownAddresses is how many addresses of a replica one row of a table names.
const maxShownAddresses = 3

// addressesText names the addresses of a replica that are dead; "" for none.
func addressesText(all []admin.AddressStatus) string {
	var dead []string
	for i := range all {
		if all[i].State == "down" || all[i].LeftOut {
			dead = append(dead, all[i].Address)
		}
	}
	if len(dead) == 0 || len(dead) == len(all) {
		return ""
	}
	text := fmt.Sprintf(", %d of %d addresses dead: ", len(dead), len(all)) + strings.Join(dead[:min(len(dead), maxShownAddresses)], ", ")
	if len(dead) > maxShownAddresses {
		text += ", ..."
	}
	return text
}

// proberText is what the prober says of itself.
func proberText(p *admin.ProberStatus) string {
	text := "well"
	if p.Impaired {
		text = "impaired since " + stampOf(p.Since) + ", silent replicas are not taken down: " + p.Reason
	}
	if p.LocalShare > 0 {
		text += fmt.Sprintf("; %s of the probes fail here", percent(p.LocalShare))
	}
	if len(p.Anchors) == 0 {
		return text
	}
	answering := 0
	for i := range p.Anchors {
		if p.Anchors[i].Answered {
			answering++
		}
	}
	return text + fmt.Sprintf("; %d of %d anchors answer", answering, len(p.Anchors))
}

// targetText is what is to be known of a target: nothing while it resolves.
func targetText(t *admin.TargetStatus, now time.Time) string {
	switch {
	case t == nil || !t.Stale:
		return ""
	case t.ResolvedAt == nil:
		return ", target not resolved"
	}
	return ", target stale for " + age(now.Sub(*t.ResolvedAt))
}

// drainText is how far a drain has come, in a word or two.
func drainText(d *admin.DrainStatus, now time.Time) string {
	var text string
	switch {
	case d == nil || !d.Drained:
		return "-"
	case d.LastResort:
		text = "last resort"
	case d.Safe:
		text = "safe"
	case d.SafeAt != nil:
		text = "safe at " + clock(*d.SafeAt, now)
	case now.Before(d.EffectiveAt):
		text = "from " + clock(d.EffectiveAt, now)
	default:
		text = "safe by " + clock(d.Bound, now)
	}
	if d.Until != nil {
		text += ", ends " + clock(*d.Until, now)
	}
	return text
}

// unheldShown is how many registries are named of those that share a reason.
const unheldShown = 5

// unheld says which registries hold no clients, and why, a line for each reason.
func unheld(w io.Writer, registries []admin.RegistryStatus) {
	var reasons []string
	by := make(map[string][]string)
	for _, r := range registries {
		if r.Holds || r.NoHolds == "" {
			continue
		}
		if by[r.NoHolds] == nil {
			reasons = append(reasons, r.NoHolds)
		}
		by[r.NoHolds] = append(by[r.NoHolds], r.Registry)
	}
	for _, reason := range reasons {
		names := by[reason]
		shown := strings.Join(names[:min(len(names), unheldShown)], ", ")
		if more := len(names) - unheldShown; more > 0 {
			shown += fmt.Sprintf(" and %d more", more)
		}
		fmt.Fprintf(w, "\nclients of %s are not held through changes: %s\n", shown, reason)
	}
}
