// Package handover is how a running server gives its place to the next process.
//
// A [Channel] is one end of a socket pair that the old process makes before it
// starts the new one. Messages and open descriptors go over it in both directions:
//
//	old                                  new
//	Hello, Socket..., Begin   ------->
//	                          <-------   Loaded: configuration and data are good
//	Ledger: it is yours       ------->
//	                          <-------   Proved: state is restored, a query was answered
//	Go                        ------->
//	                          <-------   Serving
//	Connection..., Quiet      ------->   nothing is answered over there any more
//	Counters                  ------->   last counts
//
// Until Proved the new process has changed nothing that the old one cannot go on
// with, and Failed, or the end of the channel, makes it go on. After Go the end of
// the channel means nothing to the new process but that it is alone.
//
// The package also sorts sockets that were opened elsewhere, by the old process or
// by a service manager, to those who serve them ([Sockets]).
//
// The application uses it; it imports nothing of ours.
package handover
