package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	landlocksys "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// Paths are what a process goes on needing, beside what every process does to
// resolve names, check certificates and know the time. Folders stand for all below
// them, and those that are missing are passed over.
type Paths struct {
	// Read holds folders to read.
	Read []string
	// Write holds folders to read, and to create, write and remove files in.
	Write []string
	// Programs holds folders whose files may be read and executed: that of this very
	// program, which an upgrade starts anew.
	Programs []string
	// Execute allows to read and execute everything: programs that probe are the
	// operator's own, and what they need cannot be known.
	Execute bool
}

// What the resolver, TLS and the clock read.
//
// The kernel grants the inode that has a name at the start. A file that is replaced, as
// dhclient and NetworkManager replace /etc/resolv.conf by renaming another one, is then
// out of reach for good, and so is one that a link leads to which was not there. What is
// renewed is granted by its folder, for which files come and go.
//
// For files of /etc the folder is all of /etc, since rights count for everything below
// and none can be taken out again. Files can be read there, folders not listed; and the
// permissions of the files go on to count: the user of the unit reads there what
// everybody may, and no key of anybody else. To root, who should not serve DNS, the files
// that only root may read are open as well. The alternative is a server that resolves no
// name any more after a lease was renewed.
//
//nolint:gochecknoglobals // never written
var (
	systemDevices = []string{"/dev/urandom"}
	systemFlat    = []string{"/etc"}
	systemFolders = []string{
		"/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/var/lib/ca-certificates",
		"/usr/share/zoneinfo", "/proc", "/sys/fs/cgroup",
		// Where resolv.conf may come to lead: to other folders it must lead at the start.
		"/run/systemd/resolve", "/run/NetworkManager", "/run/resolvconf", "/run/connman", "/run/netconfig",
	}
	// systemLinks may be links to anywhere, and systemVariables lead there.
	systemLinks = []string{
		"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/localtime",
		"/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/pki/tls/cacert.pem",
	}
	systemVariables = []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "ZONEINFO"}
)

// system lists the folders that links and variables lead to, and the files that lie
// where a folder cannot be granted.
func system(getenv func(string) string, links []string) (out, files []string) {
	for _, name := range systemVariables {
		for _, path := range filepath.SplitList(getenv(name)) {
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				out = append(out, path)
			}
			links = append(links, path)
		}
	}
	for _, link := range links {
		for _, dir := range Folders(link) {
			switch dir = filepath.Clean(dir); {
			case dir == "/etc": // see systemFlat
			case strings.Count(dir, "/") > 1:
				out = append(out, dir)
			default:
				files = append(files, link) // in /run, say, as it is at the start: the folder is everybody's
			}
		}
	}
	return out, files
}

// Status is how far a process is confined, in words for an operator.
type Status string

// The kernel's Landlock interface: 3 is the first that also guards truncation.
const (
	oldest   = 1
	complete = 3
)

// Confine confines this process and all it will start to p, as far as the kernel
// can, and says how far that is. An error means that the kernel can and did not. The
// process loses the right to gain privileges by executing a file.
func Confine(p Paths) (Status, error) {
	abi, err := landlocksys.LandlockGetABIVersion()
	if err != nil || abi < oldest {
		return none, nil //nolint:nilerr // a kernel without it is no fault
	}
	read, write := clean(p.Read), clean(p.Write)
	found, files := system(os.Getenv, systemLinks)
	rules := []landlock.Rule{
		landlock.PathAccess(readFile, slices.Concat(systemDevices, systemFlat, files)...).IgnoreIfMissing(),
		landlock.PathAccess(readBelow, slices.Concat(systemFolders, found, read)...).IgnoreIfMissing(),
		landlock.PathAccess(writeBelow, write...).IgnoreIfMissing(),
		landlock.PathAccess(execute, clean(p.Programs)...).IgnoreIfMissing(),
		landlock.RWFiles("/dev/null").IgnoreIfMissing(),
	}
	if p.Execute {
		rules = append(rules, landlock.RODirs("/"))
	}
	if err := landlock.V5.BestEffort().RestrictPaths(rules...); err != nil {
		if errors.Is(err, syscall.E2BIG) {
			return "on: as the processes before this one left it", nil
		}
		return "", fmt.Errorf("confine the process with Landlock: %w: set server.sandbox to false to run without", err)
	}
	return Describe(p), nil
}

// none is the status where there is nothing to confine with.
const none Status = "off: the kernel has no Landlock"

// Describe returns the status of a process that has confined itself to p.
func Describe(p Paths) Status {
	abi, err := landlocksys.LandlockGetABIVersion()
	if err != nil || abi < oldest {
		return none
	}
	return status(abi, clean(p.Read), clean(p.Write), clean(p.Programs), p.Execute)
}

// What is allowed. The ready-made sets of the library include executing.
const (
	readFile   landlock.AccessFSSet = landlocksys.AccessFSReadFile
	execute                         = readFile | landlocksys.AccessFSExecute
	readBelow                       = readFile | landlocksys.AccessFSReadDir
	writeBelow                      = readBelow | landlocksys.AccessFSWriteFile | landlocksys.AccessFSTruncate |
		landlocksys.AccessFSMakeReg | landlocksys.AccessFSMakeSock | landlocksys.AccessFSRemoveFile
)

func status(abi int, read, write, programs []string, execute bool) Status {
	var b strings.Builder
	fmt.Fprintf(&b, "on: Landlock %d", abi)
	if abi < complete {
		b.WriteString(" (files outside can be truncated)")
	}
	fmt.Fprintf(&b, "; reads %s; writes %s", strings.Join(read, " "), strings.Join(write, " "))
	if len(programs) > 0 {
		fmt.Fprintf(&b, "; executes %s", strings.Join(programs, " "))
	}
	if execute {
		b.WriteString("; reads and executes everything, for exec probes")
	}
	return Status(b.String())
}

// Hint says how to go on after an error that may come from the confinement, given
// its text; "" where it does not.
func Hint(s Status, text string) string {
	if !strings.HasPrefix(string(s), "on:") || !strings.Contains(text, fs.ErrPermission.Error()) && !strings.Contains(text, syscall.EACCES.Error()) {
		return ""
	}
	return " (the sandbox allows what the configuration needed at the start: if this place is new, restart the server)"
}

// clean makes paths absolute, each once, and leaves out those that are missing or
// lie below another.
func clean(paths []string) []string {
	var out []string
	for _, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			continue // the working folder is gone; so is what lies in it
		}
		if target, err := filepath.EvalSymlinks(abs); err == nil {
			abs = target
		}
		if info, err := os.Stat(abs); err == nil && info.IsDir() {
			out = append(out, abs)
		}
	}
	slices.Sort(out)
	return slices.CompactFunc(out, func(kept, p string) bool {
		return p == kept || strings.HasPrefix(p, strings.TrimSuffix(kept, "/")+"/")
	})
}
