package geo

// CellID is the number of a cell in its table. 0 is always the cell of the
// addresses the data says nothing about.
type CellID uint16

// maxCells is how many cells a table may have: what a CellID can count.
const maxCells = 1 << 16

// CellKind says how far the place of a cell can be trusted.
type CellKind uint8

const (
	// Unlocated is the kind of cell 0: the data has no entry.
	Unlocated CellKind = iota
	// Located is a cell whose point is the weighted mean of its addresses.
	Located
	// CountryOnly is a cell of which only the country is known: the data is of
	// country level, or gave a placeholder such as the middle of the country. The
	// point of such a cell is never measured from.
	CountryOnly
)

// String returns the name of the kind as explain prints it.
func (k CellKind) String() string {
	switch k {
	case Located:
		return "located"
	case CountryOnly:
		return "country"
	case Unlocated:
	}
	return "unlocated"
}

// Cell is the addresses of one country in one square of one degree.
type Cell struct {
	// Point is the mean place of the addresses, rounded to 0.01 degrees.
	Point
	// Country is the ISO 3166-1 alpha-2 code, zero where unknown.
	Country [2]byte
	Kind    CellKind
	// Weight is the number of IPv4 addresses in the cell in blocks of 256, at
	// least 1. A cell with only IPv6 addresses has 1: the size of an IPv6 network
	// says nothing about how many hosts are in it.
	Weight uint32
}

// CountryCode returns the country as a string, "" where unknown.
func (c Cell) CountryCode() string {
	if c.Country == [2]byte{} {
		return ""
	}
	return string(c.Country[:])
}
