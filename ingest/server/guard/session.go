package guard

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/gofiber/fiber/v2"

	"pingline/ingest/auth"
)

// A page in a browser shows its key once. From then on it comes back in a cookie, sealed
// with a key of this process: whoever reads the cookie out of a browser's files learns no
// key, and no session outlives a restart. Nothing of sessions is kept here, and the rights
// of the key, and whether it was revoked, are asked at each request.
const (
	sessionPath   = "/map/session"
	sessionCookie = "__Host-pingline" // by its prefix browsers keep it from other hosts (RFC 6265bis, 4.1.3.2)
	sessionLasts  = 12 * time.Hour
	mostSealed    = 3 << 10 // bytes of a key or token; browsers keep cookies of 4 KiB
)

// sealer makes cookies of keys, and keys of its cookies.
type sealer struct{ cipher.AEAD }

func newSealer() sealer {
	var key [32]byte
	_, _ = rand.Read(key[:]) // ends the process rather than fail
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // 32 bytes are a key
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has blocks of 16 bytes
	}
	return sealer{aead}
}

// seal returns a cookie that lets a secret in until a time.
func (s sealer) seal(secret []byte, until time.Time) string {
	plain := append(binary.BigEndian.AppendUint64(nil, uint64(until.Unix())), secret...)
	return base64.RawURLEncoding.EncodeToString(s.Seal(nil, nil, plain, nil))
}

// open returns the secret of a cookie, or nil.
func (s sealer) open(cookie []byte, now time.Time) []byte {
	sealed, err := base64.RawURLEncoding.AppendDecode(nil, cookie)
	if err != nil {
		return nil
	}
	plain, err := s.Open(nil, nil, sealed, nil)
	if err != nil || len(plain) < 8 || now.Unix() >= int64(binary.BigEndian.Uint64(plain)) {
		return nil
	}
	return plain[8:]
}

// sessionState tells a page of its session.
type sessionState struct {
	Needed bool   `json:"needed"` // a key is needed, and the session has none that will do
	Name   string `json:"name"`   // of the key; "" without one
}

// Sessions serves the routes by which the live map shows a key.
func (r *Keeper) Sessions(app *fiber.App) {
	r.sessions = newSealer()
	app.Get(sessionPath, func(c *fiber.Ctx) error {
		said := sessionState{Needed: r.gate != nil}
		if shown := r.cookie(c); shown.Shown && r.gate != nil {
			from, now := r.client(c), time.Now()
			if id, err := r.gate.Enter(&shown, from, now); err == nil && id.Fleet() {
				said = sessionState{Name: id.Name}
			}
		}
		c.Set(fiber.HeaderCacheControl, "no-store")
		return c.JSON(said)
	})
	app.Post(sessionPath, r.Need(auth.Read, true), func(c *fiber.Ctx) error {
		id, shown := Of(c), credentials(c)
		if len(shown.Secret) > mostSealed {
			return fiber.NewError(fiber.StatusRequestHeaderFieldsTooLarge, "the token is longer than 3072 bytes: browsers keep no cookie of that size")
		}
		if r.gate != nil {
			setCookie(c, r.sessions.seal(shown.Secret, time.Now().Add(sessionLasts)), sessionLasts)
		}
		c.Set(fiber.HeaderCacheControl, "no-store")
		return c.JSON(sessionState{Name: id.Name})
	})
	app.Delete(sessionPath, func(c *fiber.Ctx) error {
		setCookie(c, "", -time.Second)
		return c.SendStatus(fiber.StatusNoContent)
	})
}

// setCookie sets the cookie of a session; one that has lasted long enough is forgotten.
func setCookie(c *fiber.Ctx, value string, lasts time.Duration) {
	c.Cookie(&fiber.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: int(lasts.Seconds()), Expires: time.Now().Add(lasts),
		Secure: true, HTTPOnly: true, SameSite: fiber.CookieSameSiteStrictMode,
	})
}

// cookie returns the key of a request's session. A session only reads, and only for the
// page that began it: other pages of a browser may ask this server in its name.
func (r *Keeper) cookie(c *fiber.Ctx) auth.Credentials {
	if r.sessions.AEAD == nil || c.Method() != fiber.MethodGet && c.Method() != fiber.MethodHead {
		return auth.Credentials{}
	}
	sealed := c.Request().Header.Cookie(sessionCookie)
	if len(sealed) == 0 {
		return auth.Credentials{}
	}
	if ofAnotherPage(c) {
		return auth.Credentials{}
	}
	return auth.PlainCredentials(r.sessions.open(sealed, time.Now()))
}

// PassOn has a read that goes to another node show the key of its session there: a session is known
// to the node that began it alone.
func (r *Keeper) PassOn(c *fiber.Ctx) {
	head := &c.Request().Header
	if !credentials(c).Shown {
		if key := r.cookie(c); key.Shown {
			head.Set(fiber.HeaderAuthorization, "Bearer "+string(key.Secret))
		}
	}
	head.DelCookie(sessionCookie)
}

// ofAnotherPage reports whether a browser says that a page of another origin sends a request.
func ofAnotherPage(c *fiber.Ctx) bool {
	site := c.Request().Header.Peek("Sec-Fetch-Site")
	return len(site) > 0 && string(site) != "same-origin" && string(site) != "none"
}
