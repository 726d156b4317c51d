//go:build linux

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// rowTests says which tests hold each row of the list of bad inputs and attacks, as
// folder and name. Rows 1 to 51 are messages, which TestBadInput sends over every
// transport and family; the others are about connections, floods, clocks, files and
// peers.
var rowTests = map[int]string{
	1: bad, 2: bad, 3: bad, 4: bad, 5: bad, 6: bad, 7: bad, 8: bad, 9: bad, 10: bad,
	11: bad, 12: bad, 13: bad, 14: bad, 15: bad, 16: bad, 17: bad, 18: bad, 19: bad, 20: bad,
	21: bad, 22: bad, 23: bad, 24: bad, 25: bad, 26: bad, 27: bad + " resolver.TestCookieEnforced",
	28: "resolver/wire.TestCookieCheck resolver.TestCookiesAreRenewed resolver.TestCookieRollOver",
	29: bad, 30: bad, 31: bad, 32: bad, 33: bad, 34: bad, 35: bad, 36: bad + " resolver.TestStreamOptions", 37: bad, 38: bad,
	39: bad, 40: bad, 41: bad, 42: bad, 43: bad, 44: bad, 45: bad, 46: bad + " resolver.TestEveryType",
	47: bad, 48: bad, 49: bad, 50: bad, 51: bad + " resolver.TestFlags",
	52: "resolver/server.TestTCPClosesOn resolver/server.TestTCPHalfClosedAndReset resolver/server.TestTCPOctetByOctet",
	53: "cmd/internal/e2e.TestAbuse resolver/server.TestTCPLimits resolver/server.TestIdlestConnectionsMakeRoom",
	54: "resolver/server.TestTCPClientThatNeverReads",
	55: "resolver/server.TestTLSHandshakeEnds resolver/server.TestTLSAnswers cmd/internal/e2e.TestAbuse",
	56: "resolver.TestResponseRateLimit resolver/rrl.TestRateAndBurst resolver/rrl.TestCarpet cmd/internal/e2e.TestAbuse",
	57: "resolver.TestAnswersDoNotAllocate resolver.TestResponseRateLimit cmd/internal/e2e.TestAbuse",
	58: "resolver/decide.TestAFloodEvictsNobody resolver/decide.TestI9MemoryIsBounded cmd/internal/e2e.TestAbuse",
	59: "resolver/server.TestPortZeroIsDropped resolver.TestResponsesAreNotAnswered",
	60: "resolver/server.TestNeverFragments",
	61: "cmd/internal/app.TestClockSurvivesSteps cmd/internal/app.TestTransfersSurviveASetClock cmd/internal/app.TestCookiesSurviveASetClock resolver/rrl.TestClockSteps cmd/internal/app.TestCertificateIsRenewed",
	62: "geo.TestReadMMDBErrors geo.FuzzReadMMDB cmd/internal/app.TestFailedReload",
	63: "health/probe.TestHostileTargets health/probe.TestRedirectsAreNotFollowed health/probe.TestNamesMayNotLeadToMetadata health/probe.FuzzResponse",
	64: "config/ledger.TestGarbageIsRefusedOrHarmless config/ledger.TestConflict config/ledger.TestInvalidEventsAreRefused config/ledger.FuzzDecodeEvent",
	65: "cmd/internal/admin.TestControlGigabyte cmd/internal/admin.TestControlSlowBody cmd/internal/admin.TestControlConcurrentDrains cmd/internal/admin.TestHeaders",
	66: "config.TestBombs config.TestMillionNames config.TestBadFiles config.FuzzParse",
	67: "cmd/internal/app.TestMetrics cmd/internal/app.TestMetricsLint cmd/internal/admin.TestMetricsListener",
	68: "resolver/server.TestNoFileDescriptors config/ledger.TestFullDisk config/ledger.TestReadOnlyDisk",
}

const (
	bad  = "cmd/internal/e2e.TestBadInput"
	rows = 68
)

// Every row has a test, every test named is there, and TestBadInput has a message for
// each row that names it.
func TestEveryRowHasATest(t *testing.T) {
	messages := make(map[string]bool)
	for _, in := range allInputs() {
		number, _, _ := strings.Cut(in.row, " ")
		messages[number] = true
	}
	for row := 1; row <= rows; row++ {
		tests := strings.Fields(rowTests[row])
		if len(tests) == 0 {
			t.Errorf("row %d has no test", row)
		}
		for _, name := range tests {
			dir, function, _ := strings.Cut(name, ".")
			if !hasTest(t, filepath.Join("../../..", dir), function) {
				t.Errorf("row %d: there is no %s in %s", row, function, dir)
			}
			if name == bad && !messages[strconv.Itoa(row)] {
				t.Errorf("row %d: %s has no message for it", row, bad)
			}
		}
	}
	if len(rowTests) != rows {
		t.Errorf("%d rows are listed, want %d", len(rowTests), rows)
	}
}

// hasTest reports whether a test file of a folder has the function.
func hasTest(t *testing.T, dir, function string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(function) + `\(`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if declared.Match(text) {
			return true
		}
	}
	return false
}

// What SECURITY.md says to be tested is: the tests it names are there.
func TestSecurityPageNamesTests(t *testing.T) {
	page, err := os.ReadFile("../../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir("../../..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(text, -1) {
			declared[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(string(page), -1) {
		if !declared[name] {
			t.Errorf("SECURITY.md names %s, which is not there", name)
		}
	}
}
