package geo

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestKilometres(t *testing.T) {
	t.Parallel()
	halfTurn := math.Pi * earthRadius
	for _, c := range []struct {
		name   string
		p, q   Point
		want   float64
		within float64
	}{
		{"same", Point{52, 5}, Point{52, 5}, 0, 0},
		// A geodesic on the ellipsoid is 5,837 km long.
		{"New York to Paris", Point{40.7128, -74.006}, Point{48.8566, 2.3522}, 5837, 25},
		{"across the antimeridian", Point{0, 179.5}, Point{0, -179.5}, halfTurn / 180, 1e-6},
		{"Fiji to Samoa", Point{-18.14, 178.44}, Point{-13.83, -171.77}, 1146, 8},
		{"over the north pole", Point{89, 0}, Point{89, 180}, 2 * halfTurn / 180, 1e-6},
		{"at a pole longitude means nothing", Point{90, 17}, Point{90, -120}, 0, 1e-6},
		{"pole to pole", Point{90, 0}, Point{-90, 0}, halfTurn, 1e-6},
		{"antipodes", Point{10, 20}, Point{-10, -160}, halfTurn, 1e-3},
		{"180 is -180", Point{12, 180}, Point{12, -180}, 0, 1e-6},
		{"a hundred metres", Point{52, 5}, Point{52.0009, 5}, 0.1, 0.001},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := c.p.Kilometres(c.q); math.Abs(got-c.want) > c.within {
				t.Errorf("%v km, want %v", got, c.want)
			}
			if there, back := c.p.Kilometres(c.q), c.q.Kilometres(c.p); there != back {
				t.Errorf("%v km there and %v back", there, back)
			}
		})
	}
}

// TestKilometresTriangle checks what a distance must be: never more than by way of
// a third place, never more than half the way around.
func TestKilometresTriangle(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		a, b, c := randomPoint(rnd), randomPoint(rnd), randomPoint(rnd)
		if a.Kilometres(c) > a.Kilometres(b)+b.Kilometres(c)+1e-6 {
			t.Fatalf("%v to %v is longer than by way of %v", a, c, b)
		}
		if km := a.Kilometres(b); km > math.Pi*earthRadius+1e-6 {
			t.Fatalf("%v to %v is %v km", a, b, km)
		}
	}
}

func TestPointOfVector(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(2, 2))
	for range 1000 {
		p := randomPoint(rnd)
		if q := p.vector().point(); p.Kilometres(q) > 1e-6 {
			t.Fatalf("%v became %v", p, q)
		}
	}
}
