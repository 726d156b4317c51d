// Package config reads Portolan's YAML configuration and says, all at once,
// everything that is wrong with it.
//
// A [Config] that was returned without an error is complete (every default is
// filled in) and consistent (every name, region, probe and zone it refers to
// exists), so that what compiles it into a snapshot need not check again.
// Anything wrong is reported as [Errors]: each with file, line and column, the
// path of the value, what is wrong, and the next thing to try.
//
// At run time it is used when the program starts, at each reload, and by the
// verbs that work from a file. Nothing on the path of a query sees it: the
// compiler, the application and the command line may import it; resolver, geo
// and health never do. It imports nothing of ours, so the one thing it cannot
// know, which regions have well-known coordinates, is passed in
// as [Options.KnownRegion].
//
// Everything here is pure but for [Load], which reads files. A [Cache] makes it
// faster, and never gives another result. Values are not changed after they are
// returned and may be read by any number of goroutines.
package config
