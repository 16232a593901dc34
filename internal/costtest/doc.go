// Package costtest holds the cost of a stage of a ping's path to a limit: a multiple of
// the cost of a loop that never changes, measured in the same run.
//
// Both are measured by the CPU time of their thread, in turns, and of each the least
// time counts: other processes on the machine make some of many short turns slower,
// and none faster. It does not tell small changes: limits leave room for machines that
// differ. It tells that a stage has become twice as dear.
package costtest
