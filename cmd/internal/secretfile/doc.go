// Package secretfile reads the files that stand beside the configuration: keys, tokens
// and passwords, which others may not read, and certificates, which they may.
//
// [Source.Read] is the one reader, with one policy: a regular file of a bounded size, and
// for secrets a mode that lets nobody but the owner write and nobody beyond the group
// read. [Kept] is what was made of such files, and is made again when they change: who
// renews a certificate or a password needs no reload. [Roots] are the authorities that
// the system trusts, kept in the same way.
//
// The application keeps what a configuration names, and has it look at the files every
// few seconds ([Looker]); those who use what is kept only read memory. Nothing here logs:
// errors name the file and never show what is in it. Only the application may import it.
package secretfile
