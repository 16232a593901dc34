package health

import "testing"

func TestTally(t *testing.T) {
	var k RefusalBudget
	admit := func(n, want int) {
		t.Helper()
		if got, _ := k.Spend(n); got != want {
			t.Fatalf("%d of %d rows may be refused, with %d before, want %d", got, n, k.sum, want)
		}
	}
	admit(1001, 0)
	for range 100 { // 1 % of 100,000
		admit(10, 10)
		k.Passed(1000)
	}
	for range 300 { // what was refused first is forgotten first, a step behind
		admit(10, 10)
		k.Passed(1000)
		if k.sum > BudgetRefused || k.sum < BudgetRefused-20 {
			t.Fatalf("%d are counted", k.sum)
		}
	}
	admit(BudgetRefused-k.sum, BudgetRefused-k.sum)
	admit(1, 0)
	k.Refund(3, false) // could not be written
	admit(3, 3)
	admit(1, 0)
	k.Allow(5)
	admit(20, 5)
	k.Refund(2, true)
	admit(20, 2)
	admit(1, 0)
	if k.sum != BudgetRefused {
		t.Errorf("what was allowed is counted: %d", k.sum)
	}
	k.Passed(budgetRows)
	admit(1000, 1000)
}
