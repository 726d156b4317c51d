// Package activity gives the activity table memory that outlives the process.
//
// A hold is worth something only if the server knows who was active, and a server
// that is killed must know it too: of a client that was answered in its last
// millisecond as well. No way of saving the table now and then gives that, and
// none that writes with each answer is fast. So the table lies in a file of a
// memory file system, mapped shared: what a query writes there is written for
// the next process too, at the price of a write to memory. Only when the machine
// goes down is it lost, and the copy that the ledger keeps has to do.
//
// The file must lie in memory. In a mapped file on a disk a write may wait for the
// file system, and so would answers; and a full disk would end the process.
//
//	file:   header | buckets of the table | names
//	header: magic, byte order, number of buckets, seed, checksum
//	names:  records of the numbers that entries hold, each with its checksum,
//	        only ever appended to
//
// The magic says how entries are laid out. A table of the layout before is read too,
// so that an upgrade moves nobody.
//
// A file is made whole under another name, and then takes the place of the one
// that the process before has left: at every instant there is one that can be
// read. It is locked while its process lives.
//
// The application makes and reads these files at its start, and tells them names
// with each configuration. On the path of a query nothing of this package runs.
package activity
