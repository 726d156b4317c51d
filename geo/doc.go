// Package geo says which region is nearest to an address, and over which block
// of addresses that stays true.
//
// Two structures find a region, both immutable and safe for any number of readers:
//
//   - [Table] maps every IPv4 and IPv6 address to a [Cell]: about one degree of
//     one country. It is compiled from location databases ([ReadMMDB]) or read
//     from the compact file form ([Decode]), and is not read on the path of a
//     query.
//   - [Index] is a Table seen through one configuration: its regions, its sites
//     (the operator's networks) and its default region. It maps an address to a
//     [Class], a class to the ranked list of all regions, and gives the widest
//     prefix that has the same list, which is the ECS scope of an answer. This is
//     what every query reads. It knows nothing of health: the caller takes the
//     first region of the list that is fit to serve, so a change of health never
//     recompiles an Index.
//
// Beside them, [Units] says which addresses are one client: those that a server holds
// on one replica together.
//
// At run time the daemon loads one Table, compiles one Index for each
// configuration, and publishes it by swapping a pointer; the old one is garbage.
// No file stays open or mapped.
//
// The package imports nothing else of this module. The compiler of snapshots, the
// resolver, the command line and geo/embedded may import it.
package geo
