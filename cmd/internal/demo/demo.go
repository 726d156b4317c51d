// Package demo is the Contoso example: a whole Portolan on loopback, with four
// stand-in registries in the process for its probes to look at. Only
// cmd/internal/cli uses it.
package demo

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"portolan.dev/cmd/internal/app"
)

// ControlAddr is where a running demo listens for `demo break` and `demo mend`.
const ControlAddr = "127.0.0.1:8054"

// The regions of the example, in the order of the configuration.
var regions = [...]string{"westus", "eastus", "canadacentral", "westeurope"} //nolint:gochecknoglobals // a constant list

//go:embed contoso.yaml.tmpl
var configuration string

//go:embed guide.txt.tmpl
var guide string

// Demo is a running example. Make one with [Start].
type Demo struct {
	app     *app.App
	stands  map[string]*standIn
	control *http.Server
	addr    string
	dir     string
}

// Start serves the example at listen, with the control listener at control;
// port 0 takes free ports.
func Start(listen, control string, o app.Options) (*Demo, error) {
	d := &Demo{stands: make(map[string]*standIn)}
	if err := d.start(listen, control, o); err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return d, nil
}

func (d *Demo) start(listen, control string, o app.Options) error {
	addr, err := netip.ParseAddrPort(listen)
	if err != nil {
		return fmt.Errorf("listen address %q: %w: write it like 127.0.0.1:8053", listen, err)
	}
	for _, region := range regions {
		if d.stands[region], err = newStandIn(); err != nil {
			return err
		}
	}
	if d.dir, err = os.MkdirTemp("", "portolan-demo-"); err != nil {
		return err
	}
	var text bytes.Buffer
	t := template.Must(template.New("contoso").Parse(configuration))
	err = t.Execute(&text, struct {
		Listen, Dir string
		Targets     map[string]string
	}{addr.String(), d.dir, d.targets()})
	if err != nil {
		return err
	}
	// Written out so that it can be read, and tried with the other verbs.
	o.Path = filepath.Join(d.dir, "contoso.yaml")
	if err := os.WriteFile(o.Path, text.Bytes(), 0o600); err != nil {
		return err
	}
	if d.app, err = app.New(o); err != nil {
		return err
	}
	return d.listenControl(control)
}

func (d *Demo) targets() map[string]string {
	out := make(map[string]string)
	for region, s := range d.stands {
		out[region] = s.addr
	}
	return out
}

// listenControl serves POST /break/REGION and /mend/REGION.
func (d *Demo) listenControl(addr string) error {
	l, err := net.Listen("tcp", addr) //nolint:noctx // at start, nothing to cancel
	if err != nil {
		return fmt.Errorf("%w: is another demo running?", err)
	}
	d.addr = l.Addr().String()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{verb}/{region}", func(w http.ResponseWriter, r *http.Request) {
		s, ok := d.stands[r.PathValue("region")]
		verb := r.PathValue("verb")
		if !ok || verb != "break" && verb != "mend" {
			http.Error(w, "break or mend one of "+strings.Join(regions[:], ", "), http.StatusNotFound)
			return
		}
		s.broken.Store(verb == "break")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "%s: %s\n", r.PathValue("region"), //nolint:gosec // one of four names, as plain text
			map[string]string{"break": "answers 503 from now on", "mend": "answers 200 again"}[verb])
	})
	d.control = &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = d.control.Serve(l) }() // ends with Stop
	return nil
}

// App returns the server.
func (d *Demo) App() *app.App { return d.app }

// ControlAddr returns the address of the control listener.
func (d *Demo) ControlAddr() string { return d.addr }

// Guide writes what to try.
func (d *Demo) Guide(w io.Writer) error {
	at := d.app.Addrs()[0]
	dig := "dig @" + at.Addr().String()
	if at.Port() != 53 {
		dig += fmt.Sprintf(" -p %d", at.Port())
	}
	return template.Must(template.New("guide").Parse(guide)).Execute(w, struct{ Dig, At, Config, Socket, Metrics string }{
		dig, at.String(), filepath.Join(d.dir, "contoso.yaml"), filepath.Join(d.dir, "admin.sock"), d.app.MetricsAddr(),
	})
}

// Stop ends the stand-ins and removes the files. The server is stopped by
// whoever runs it, or here if nobody did.
func (d *Demo) Stop() error {
	var errs []error
	if d.app != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		errs = append(errs, d.app.Stop(ctx))
	}
	if d.control != nil {
		errs = append(errs, d.control.Close())
	}
	for _, s := range d.stands {
		if s != nil {
			errs = append(errs, s.server.Close())
		}
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}

// Tell asks the demo whose control listener is at addr to break or mend a region,
// and returns what it says.
func Tell(ctx context.Context, addr, verb, region string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/"+verb+"/"+region, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("%w: is a demo running?", err)
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return "", err
	}
	text := strings.TrimSpace(string(said))
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(text)
	}
	return text, nil
}
