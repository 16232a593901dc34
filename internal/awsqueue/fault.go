package awsqueue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Why says in a word why a request was not done.
type Why uint8

// The reasons. All but the first three are for an operator.
const (
	Trouble       Why = iota // the server is away, slow or broken: try again
	TooFast                  // asked more often than it allows
	Content                  // the content of a message is refused
	NoCredentials            // missing, wrong or expired
	NoRight
	NoQueue
	WrongAddress // no SQS is there, or a queue of another kind
)

// QueueFault is a request that was not done.
type QueueFault struct {
	Why    Why
	Advice string // to an operator, a sentence without a full stop; "" if there is nothing to do
	Err    error
}

func (f *QueueFault) Error() string { return f.Err.Error() }

func (f *QueueFault) Unwrap() error { return f.Err }

const (
	adviceCredentials = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile in ~/.aws, or the role of this machine, and its clock"
	adviceRights      = "allow it in the policy of the queue, or of the user or role, and of the key of KMS if the queue is encrypted"
	adviceQueue       = "make the queue, or name another: Pingline makes none"
	adviceAddress     = "check the URL: the region, or the endpoint of a server that speaks as SQS does, and .fifo at the end of the name of a FIFO queue alone"
)

// meanings is the table of codes of SQS and of AWS as a whole. A code that is not here is
// judged by its status.
var meanings = []struct {
	why    Why
	advice string
	codes  []string
}{
	{NoCredentials, adviceCredentials, []string{
		"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "InvalidSignatureException", "IncompleteSignature", "IncompleteSignatureException",
		"ExpiredToken", "ExpiredTokenException", "MissingAuthenticationToken", "MissingAuthenticationTokenException", "InvalidAccessKeyId", "AuthFailure",
		"RequestExpired", "RequestTimeTooSkewed", "InvalidSecurity",
	}},
	{NoRight, adviceRights, []string{
		"AccessDenied", "AccessDeniedException", "OptInRequired", "KmsAccessDenied", "KMS.AccessDeniedException", "KmsOptInRequired", "KmsNotFound", "KmsDisabled", "KmsInvalidState", "KmsInvalidKeyUsage",
	}},
	{NoQueue, adviceQueue, []string{"QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "QueueDeletedRecently", "ResourceNotFoundException"}},
	{WrongAddress, adviceAddress, []string{"InvalidAddress", "UnsupportedOperation", "InvalidAction", "UnknownOperationException", "MissingParameter"}},
	{TooFast, "", []string{
		"Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown", "OverLimit", "KmsThrottled", "KMS.ThrottlingException",
	}},
	{Content, "", []string{"InvalidMessageContents", "BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong"}},
}

// Meaning returns the reason that a code stands for, and false for a code that is not known.
func Meaning(code string) (why Why, advice string, known bool) {
	code = code[strings.LastIndexByte(code, '#')+1:]
	for i := range meanings {
		if m := &meanings[i]; slices.Contains(m.codes, code) || slices.Contains(m.codes, strings.TrimPrefix(code, "AWS.SimpleQueueService.")) {
			return m.why, m.advice, true
		}
	}
	return Trouble, "", false
}

// Explain turns an error of the SDK into a *QueueFault, or ctx's error once ctx has ended.
func (q *QueueURL) Explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	fault := &QueueFault{Err: fmt.Errorf("%s: %w", q, plain(err))}
	said, answer := smithy.APIError(nil), new(smithyhttp.ResponseError)
	status := 0
	if errors.As(err, &answer) {
		status = answer.HTTPStatusCode()
	}
	switch {
	case errors.As(err, &said):
		var known bool
		if fault.Why, fault.Advice, known = Meaning(said.ErrorCode()); !known {
			fault.byStatus(status)
		}
	case errors.As(err, new(*v4.SigningError)):
		fault.Why, fault.Advice = NoCredentials, adviceCredentials
	case status != 0:
		fault.byStatus(status)
	case strings.Contains(err.Error(), "get identity"), strings.Contains(err.Error(), "get credentials"):
		fault.Why, fault.Advice = NoCredentials, adviceCredentials
	case strings.Contains(err.Error(), "x509: "), strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		fault.Why, fault.Advice = WrongAddress, "name the authority of its certificate in AWS_CA_BUNDLE, or write sqs+http:// for a server without TLS"
	}
	return fault
}

func (f *QueueFault) byStatus(status int) {
	switch {
	case status == http.StatusUnauthorized:
		f.Why, f.Advice = NoCredentials, adviceCredentials
	case status == http.StatusForbidden:
		f.Why, f.Advice = NoRight, adviceRights
	case status == http.StatusTooManyRequests:
		f.Why = TooFast
	case status >= 300 && status < 500 && status != http.StatusRequestTimeout:
		f.Why, f.Advice = WrongAddress, adviceAddress
	}
}

// plain returns an error without the names of the SDK's layers. Of an answer it keeps the first
// line: behind it may stand the request that was to be signed, with a token in it.
func plain(err error) error {
	if said := smithy.APIError(nil); errors.As(err, &said) {
		first, _, _ := strings.Cut(said.ErrorMessage(), "\n")
		return fmt.Errorf("%s: %s", said.ErrorCode(), clip(first))
	}
	if answer := new(smithyhttp.ResponseError); errors.As(err, &answer) {
		return fmt.Errorf("status %d: %s", answer.HTTPStatusCode(), clip(http.StatusText(answer.HTTPStatusCode())))
	}
	if op := new(smithy.OperationError); errors.As(err, &op) {
		err = op.Unwrap()
	}
	return errors.New(clip(err.Error()))
}

func clip(s string) string {
	const most = 512
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
