// Package browsertest asks pages in a browser, for tests.
package browsertest

import (
	"context"
	"errors"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/chromedp"
)

// left is the code of the error of an evaluation during which the page is left.
const left = -32000

// Is reports whether an expression, or the promise that it is, is true in a page. Where the page
// is left meanwhile it is not. The error is why the page cannot be asked.
func Is(ctx context.Context, expression string) (bool, error) {
	is, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("(async () => Boolean(await ("+expression+")))()", chromedp.EvalAwaitPromise))
	if e, ok := errors.AsType[*cdproto.Error](err); ok && e.Code == left {
		return false, nil
	}
	return is, err
}
