package geo

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// placeholderRadius is the accuracy in kilometres from which the point of a record
// only stands for its country.
const placeholderRadius = 1000

// placeholderShare is the share of a country's addresses from which a point without
// a city is taken for a stand-in for the country. The databases known to have such
// points put a quarter to two thirds of a country there; no state or province that
// is a point without a city comes near it.
const placeholderShare = 0.1

// observation is what a database says of a network.
type observation struct {
	country  [2]byte
	point    Point
	hasPoint bool
	hasCity  bool
	// radius of accuracy in kilometres, 0 where the data has none.
	radius int
}

// place is the networks that a survey cannot tell apart yet: those of one cell, or
// of one point without a city, which may turn out to be a placeholder.
type place struct {
	placeKey
	sum4, sum6 vector  // of points, by weight
	addresses  float64 // IPv4
	networks   float64 // IPv6
}

type placeKey struct {
	country   [2]byte
	kind      CellKind
	square    int32 // of one degree
	anonymous Point // the point, where there is no city; else zero
}

// survey gathers the networks of databases and makes a table of them.
type survey struct {
	places []place
	byKey  map[placeKey]uint32
	v4     quantiser[uint32]
	v6     quantiser[uint64]
	// coveredBy is the file that the networks of a family come from.
	coveredBy map[string]string
}

func newSurvey() *survey {
	return &survey{
		places: make([]place, 1, 16384), // 0 is no place
		byKey:  map[placeKey]uint32{},
		v4:     quantiser[uint32]{host: 1<<8 - 1},
		v6:     quantiser[uint64]{host: 1<<16 - 1},

		coveredBy: map[string]string{},
	}
}

// place returns the number of the place of an observation.
func (s *survey) place(o observation) uint32 {
	key := placeKey{country: o.country, kind: Located}
	switch {
	case !o.hasPoint || o.radius >= placeholderRadius:
		if o.country == [2]byte{} {
			return 0
		}
		key.kind = CountryOnly
	case o.hasCity:
		key.square = squareOf(o.point)
	default:
		key.square, key.anonymous = squareOf(o.point), o.point
	}
	id, ok := s.byKey[key]
	if !ok {
		id = uint32(len(s.places))
		s.places = append(s.places, place{placeKey: key})
		s.byKey[key] = id
	}
	return id
}

// weigh counts an IPv4 network of so many addresses, or with 0 an IPv6 network, at
// its point.
func (s *survey) weigh(id uint32, o observation, addresses float64) {
	p := &s.places[id]
	if addresses > 0 {
		p.sum4, p.addresses = p.sum4.plus(o.point.vector(), addresses), p.addresses+addresses
		return
	}
	p.sum6, p.networks = p.sum6.plus(o.point.vector(), 1), p.networks+1
}

// squareOf numbers the squares of one degree.
func squareOf(p Point) int32 {
	latitude := min(int32(math.Floor(p.Latitude)), 89) + 90
	longitude := min(int32(math.Floor(p.Longitude)), 179) + 180
	return latitude*360 + longitude
}

// unmask turns the points that stand for a country into places without a point.
func (s *survey) unmask() {
	type total struct{ addresses, networks float64 }
	totals := make(map[[2]byte]total)
	for _, p := range s.places {
		t := totals[p.country]
		totals[p.country] = total{t.addresses + p.addresses, t.networks + p.networks}
	}
	for i := range s.places {
		p := &s.places[i]
		if p.kind != Located || (p.anonymous == Point{}) || p.country == [2]byte{} {
			continue
		}
		t := totals[p.country]
		if p.addresses > placeholderShare*t.addresses || (t.addresses == 0 && p.networks > placeholderShare*t.networks) {
			p.kind, p.square = CountryOnly, 0
		}
		p.anonymous = Point{}
	}
}

// table makes the table. The survey must not be used again.
func (s *survey) table(source string, built time.Time) (*Table, error) {
	if err := s.v4.finish(); err != nil {
		return nil, err
	}
	if err := s.v6.finish(); err != nil {
		return nil, err
	}
	s.unmask()
	cells, of, err := s.cells()
	if err != nil {
		return nil, err
	}
	return &Table{
		source: source,
		built:  built,
		cells:  cells,
		v4:     relabel(&s.v4, of),
		v6:     relabel(&s.v6, of),
	}, nil
}

// cells merges places into cells and tells the cell of each place. The cells with
// most ranges come first: their numbers are short in the compact file.
func (s *survey) cells() ([]Cell, []CellID, error) {
	counts := make([]int, len(s.places))
	for _, v := range s.v4.values {
		counts[v]++
	}
	for _, v := range s.v6.values {
		counts[v]++
	}
	merged := []place{{}}
	ranges := []int{math.MaxInt} // cell 0 stays first
	at := map[placeKey]int{}
	of := make([]int, len(s.places))
	for i, p := range s.places[1:] {
		m, ok := at[p.placeKey]
		if !ok {
			m = len(merged)
			at[p.placeKey] = m
			merged, ranges = append(merged, place{placeKey: p.placeKey}), append(ranges, 0)
		}
		merged[m].absorb(p)
		ranges[m] += counts[i+1]
		of[i+1] = m
	}
	if len(merged) > maxCells {
		return nil, nil, fmt.Errorf("%d cells of one degree and a country: at most %d fit", len(merged), maxCells)
	}
	order := make([]int, len(merged))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(ranges[b], ranges[a]), cmp.Compare(a, b)) })
	cells, number := make([]Cell, len(merged)), make([]CellID, len(merged))
	for id, m := range order {
		cells[id], number[m] = merged[m].cell(), CellID(id)
	}
	ids := make([]CellID, len(of))
	for i, m := range of {
		ids[i] = number[m]
	}
	return cells, ids, nil
}

func (p *place) absorb(q place) {
	p.sum4, p.addresses = p.sum4.plus(q.sum4, 1), p.addresses+q.addresses
	p.sum6, p.networks = p.sum6.plus(q.sum6, 1), p.networks+q.networks
}

// cell places the cell by its IPv4 addresses, and only without any by its IPv6
// networks: databases give unallocated IPv6 space places too.
func (p *place) cell() Cell {
	if p.kind == Unlocated {
		return Cell{}
	}
	sum := p.sum4
	if p.addresses == 0 {
		sum = p.sum6
	}
	return Cell{
		Point:   sum.point().rounded(),
		Country: p.country,
		Kind:    p.kind,
		Weight:  uint32(min(max(math.Round(p.addresses/256), 1), math.MaxUint32)),
	}
}

// rounded is the point as the compact file keeps it.
func (p Point) rounded() Point {
	return Point{math.Round(p.Latitude*100) / 100, math.Round(p.Longitude*100) / 100}
}

// relabel turns ranges of places into ranges of cells.
func relabel[A address](q *quantiser[A], of []CellID) partition[A] {
	var p partition[A]
	for i, start := range q.starts {
		p.append(start, uint16(of[q.values[i]]))
	}
	return p.clip()
}
