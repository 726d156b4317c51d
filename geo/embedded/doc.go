// Package embedded holds the location data that comes with Portolan, so that a
// server steers by place from the first start, without an account anywhere and
// without a download.
//
// The data is the IP to City Lite database of DB-IP, IPv4 and IPv6, reduced to
// cells of one degree in the compact form of package geo. It is made by the
// generator in geo/embedded/gen; the file places.bin is checked in. Whoever
// distributes it must keep the [Attribution].
//
// Only packages under cmd import it: whoever else needs a *geo.Table is given one.
// A process calls [Table] once and keeps the result.
package embedded
