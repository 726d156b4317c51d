// Package archtest holds the rules of the repository as tests: who may import
// whom and why not, and that every package says what it is for. It has no code.
package archtest
