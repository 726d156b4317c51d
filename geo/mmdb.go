package geo

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oschwald/geoip2-golang/v2"
	"github.com/oschwald/maxminddb-golang/v2"
)

// ReadMMDB compiles location databases in the MaxMind DB format into a table. It
// reads city and country databases in two schemas: that of GeoIP2 and GeoLite2,
// which DB-IP follows, and the flat one of ip-location-db (country_code, latitude,
// longitude), which has IPv4 and IPv6 in a file each. No two files may cover the
// same family.
//
// The files are read whole, checked, compiled and let go: they may be replaced at
// any time. Errors name the file, what was found in it and what to do.
func ReadMMDB(paths ...string) (*Table, error) {
	if len(paths) == 0 {
		return nil, errors.New("no location database given")
	}
	s := newSurvey()
	sources := make([]string, 0, len(paths))
	var built time.Time
	for i, path := range paths {
		if slices.Contains(paths[:i], path) {
			return nil, fmt.Errorf("location database %s is given twice", path)
		}
		db, err := readInto(s, path)
		if err != nil {
			return nil, fmt.Errorf("location database %s: %w", path, err)
		}
		sources = append(sources, filepath.Base(path)+" ("+db.DatabaseType+")")
		if at := db.BuildTime().UTC(); built.IsZero() || at.Before(built) {
			built = at
		}
	}
	t, err := s.table(strings.Join(sources, ", "), built)
	if err != nil {
		return nil, fmt.Errorf("location databases %s: %w", strings.Join(paths, ", "), err)
	}
	return t, nil
}

// readInto gives the networks of a file to the survey.
func readInto(s *survey, path string) (maxminddb.Metadata, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return maxminddb.Metadata{}, err
	}
	db, err := openDatabase(path, data)
	if err != nil {
		return maxminddb.Metadata{}, err
	}
	return db.reader.Metadata, db.into(s)
}

// database is an open database on its way into a survey.
type database struct {
	reader *maxminddb.Reader
	decode func(maxminddb.Result) (observation, error)
	path   string
}

func openDatabase(path string, data []byte) (*database, error) {
	reader, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("not a MaxMind DB file, or cut short (%d bytes): fetch it again: %w", len(data), err)
	}
	if err := wantPlaces(data); err != nil {
		return nil, err
	}
	db := &database{reader: reader, decode: decodeGeoIP, path: path}
	if isFlat(reader) {
		db.decode = decodeFlat
	}
	return db, nil
}

// wantPlaces refuses the database types known to hold something else. Types that
// are not known are judged by what is in them: people build databases of their own.
func wantPlaces(data []byte) error {
	known, err := geoip2.OpenBytes(data)
	if _, unknown := errors.AsType[geoip2.UnknownDatabaseTypeError](err); unknown {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = known.Country(netip.IPv4Unspecified())
	if wrong, ok := errors.AsType[geoip2.InvalidMethodError](err); ok {
		return fmt.Errorf("is a %s database, which holds no places: give a city or country database, such as GeoLite2-City or DBIP-City-Lite",
			wrong.DatabaseType)
	}
	return nil
}

// isFlat looks for the flat schema in the first record.
func isFlat(reader *maxminddb.Reader) bool {
	for result := range reader.Networks() {
		var code *string
		err := result.DecodePath(&code, "country_code")
		return err == nil && code != nil
	}
	return false
}

// into gives every network to the survey. It reads all of the search tree and what is
// wanted of each record, and so finds whatever damage matters. The library's Verify
// reads all else as well, and does not end in any time or memory where damaged records
// point to one another.
func (db *database) into(s *survey) error {
	type known struct {
		observation
		place uint32
	}
	// Records are shared by many networks; each is decoded once.
	records := map[uintptr]known{}
	// A tree has one leaf more than nodes. More would be a tree whose branches
	// join, which could go on for longer than anybody waits.
	leaves := db.reader.Metadata.NodeCount + 1
	for result := range db.reader.Networks(maxminddb.IncludeNetworksWithoutData()) {
		if leaves == 0 {
			return errors.New("damaged: its search tree has more leaves than nodes: fetch it again")
		}
		leaves--
		if err := result.Err(); err != nil {
			return fmt.Errorf("damaged: fetch it again: %w", err)
		}
		if !result.Found() {
			continue
		}
		record, ok := records[result.Offset()]
		if !ok {
			o, err := db.observe(result)
			if err != nil {
				return err
			}
			record = known{o, s.place(o)}
			records[result.Offset()] = record
		}
		if record.place == 0 {
			continue
		}
		if err := db.add(s, result.Prefix(), record.observation, record.place); err != nil {
			return err
		}
	}
	if s.coveredBy["IPv4"] != db.path && s.coveredBy["IPv6"] != db.path {
		return fmt.Errorf("a database of type %q without countries and coordinates: give a city or country database",
			db.reader.Metadata.DatabaseType)
	}
	return nil
}

// observe decodes the record of a network.
func (db *database) observe(result maxminddb.Result) (observation, error) {
	o, err := db.decode(result)
	if damage, ok := errors.AsType[maxminddb.InvalidDatabaseError](err); ok {
		return o, fmt.Errorf("damaged: fetch it again: the record of %s: %w", result.Prefix(), damage)
	}
	if err != nil {
		return o, fmt.Errorf("the record of %s has another schema than a city or country database: %w", result.Prefix(), err)
	}
	return o, nil
}

func (db *database) add(s *survey, prefix netip.Prefix, o observation, id uint32) error {
	b, family, addresses := blockOf(prefix, 0), "IPv6", 0.0
	if prefix.Addr().Is4() {
		family, addresses = "IPv4", math.Ldexp(1, 32-prefix.Bits())
	}
	switch by := s.coveredBy[family]; by {
	case db.path:
	case "":
		s.coveredBy[family] = db.path
	default:
		return fmt.Errorf("%s also covers %s: give one of them", by, family)
	}
	s.weigh(id, o, addresses)
	var err error
	if prefix.Addr().Is4() {
		err = s.v4.add(uint32(b.first.hi>>32), uint32(b.last.hi>>32), id)
	} else {
		err = s.v6.add(b.first.hi, b.last.hi, id)
	}
	if err != nil {
		return fmt.Errorf("at %s: %w", prefix, err)
	}
	return nil
}

// geoipRecord is the part of the GeoIP2 city and country schema that counts.
type geoipRecord struct {
	City struct {
		GeoNameID uint `maxminddb:"geoname_id"`
		Names     struct {
			English string `maxminddb:"en"`
		} `maxminddb:"names"`
	} `maxminddb:"city"`
	Country struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	RegisteredCountry struct {
		ISOCode string `maxminddb:"iso_code"`
	} `maxminddb:"registered_country"`
	Location struct {
		Latitude       *float64 `maxminddb:"latitude"`
		Longitude      *float64 `maxminddb:"longitude"`
		AccuracyRadius uint     `maxminddb:"accuracy_radius"`
	} `maxminddb:"location"`
}

func decodeGeoIP(result maxminddb.Result) (observation, error) {
	var r geoipRecord
	if err := result.Decode(&r); err != nil {
		return observation{}, err
	}
	code := r.Country.ISOCode
	if code == "" {
		// The country the block is registered in is all there is for some
		// satellite and anycast networks.
		code = r.RegisteredCountry.ISOCode
	}
	o := observation{
		country: countryOf(code),
		hasCity: r.City.GeoNameID != 0 || r.City.Names.English != "",
		radius:  int(r.Location.AccuracyRadius),
	}
	o.locate(r.Location.Latitude, r.Location.Longitude)
	return o, nil
}

// flatRecord is the schema of ip-location-db.
type flatRecord struct {
	City        string   `maxminddb:"city"`
	CountryCode string   `maxminddb:"country_code"`
	Latitude    *float64 `maxminddb:"latitude"`
	Longitude   *float64 `maxminddb:"longitude"`
}

func decodeFlat(result maxminddb.Result) (observation, error) {
	var r flatRecord
	if err := result.Decode(&r); err != nil {
		return observation{}, err
	}
	o := observation{country: countryOf(r.CountryCode), hasCity: r.City != ""}
	o.locate(r.Latitude, r.Longitude)
	return o, nil
}

// locate sets the point, if it is one. Exactly 0,0 lies in the sea and is how some
// databases write that they do not know.
func (o *observation) locate(latitude, longitude *float64) {
	if latitude == nil || longitude == nil {
		return
	}
	p := Point{*latitude, *longitude}
	if p.valid() && p != (Point{}) {
		o.point, o.hasPoint = p, true
	}
}

// countryOf returns an ISO 3166-1 code, or zero for anything else.
func countryOf(code string) [2]byte {
	if len(code) != 2 || !isUpper(code[0]) || !isUpper(code[1]) {
		return [2]byte{}
	}
	return [2]byte{code[0], code[1]}
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
