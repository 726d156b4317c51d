package geo

import (
	"fmt"
	"math"
)

// earthRadius is the mean radius of the earth in kilometres (IUGG R1). The
// flattening it ignores is at most 0.5 % of a distance, far below the error of
// the locations.
const earthRadius = 6371.0088

// Point is a place on the earth in degrees: latitude in [-90, 90], north
// positive, and longitude in [-180, 180], east positive.
type Point struct {
	Latitude  float64
	Longitude float64
}

// Kilometres returns the great-circle distance between p and q.
func (p Point) Kilometres(q Point) float64 {
	return p.vector().kilometres(q.vector())
}

// String returns the point as "latitude,longitude" with two decimals, about a
// kilometre.
func (p Point) String() string {
	return fmt.Sprintf("%.2f,%.2f", p.Latitude, p.Longitude)
}

func (p Point) valid() bool {
	// Written so that NaN is not valid.
	return math.Abs(p.Latitude) <= 90 && math.Abs(p.Longitude) <= 180
}

// vector is a point on the unit sphere. Ranking compares each cell with every
// region: with vectors the trigonometry is done once for each point and not for
// each pair, and the antimeridian and the poles are no special cases.
type vector struct{ x, y, z float64 }

func (p Point) vector() vector {
	sinLat, cosLat := math.Sincos(p.Latitude * math.Pi / 180)
	sinLon, cosLon := math.Sincos(p.Longitude * math.Pi / 180)
	return vector{cosLat * cosLon, cosLat * sinLon, sinLat}
}

// kilometres measures by the chord: unlike the arc cosine of the dot product, it
// loses no digits between points that are close.
func (v vector) kilometres(w vector) float64 {
	dx, dy, dz := v.x-w.x, v.y-w.y, v.z-w.z
	half := math.Sqrt(dx*dx+dy*dy+dz*dz) / 2
	return 2 * earthRadius * math.Asin(min(half, 1))
}

// point is the inverse of Point.vector for a vector of any length but zero.
func (v vector) point() Point {
	return Point{
		Latitude:  math.Atan2(v.z, math.Hypot(v.x, v.y)) * 180 / math.Pi,
		Longitude: math.Atan2(v.y, v.x) * 180 / math.Pi,
	}
}

func (v vector) plus(w vector, weight float64) vector {
	return vector{v.x + w.x*weight, v.y + w.y*weight, v.z + w.z*weight}
}
