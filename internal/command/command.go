// Package command is shared by the commands of pingline: where a command prints
// and when it stops, the error for a command that cannot run as asked, and flags
// that several commands take.
package command

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"pingline/ingest/auth/access"
	"pingline/ingest/auth/token"
	"pingline/ingest/kafka"
	"pingline/ingest/mqtt/subscriber"
	"pingline/ingest/privacy"
	"pingline/ingest/server/certs"
	"pingline/ingest/sqs"
	"pingline/internal/node"
	"pingline/internal/peers"
	"pingline/internal/unit"
	"pingline/partition"
	"pingline/sink/sets"
)

// Program is a run of pingline. Its context ends when the user asks to stop.
type Program struct {
	context.Context
	Stdin          io.Reader // where a person may answer; nil: nobody does
	Stdout, Stderr io.Writer
	Version        string
}

// Wrote says that a file was written, and how many pings are in it.
func (p *Program) Wrote(path string, pings int) {
	fmt.Fprintf(p.Stderr, "wrote %s (%s)\n", path, unit.Plural(pings, "ping", "pings"))
}

// UsageError marks a request that cannot be met: a wrong flag, file or directory.
// Such a run exits with 2, any other failure with 1.
type UsageError struct{ error }

// Unusable returns err as a UsageError.
func Unusable(err error) UsageError { return UsageError{err} }

// Unwrap returns the error itself.
func (e UsageError) Unwrap() error { return e.error }

// OfParts returns an error if dir, the --data-dir of a command, is of a node with --parts: what
// belongs to a part is in a directory of its own.
func OfParts(dir string) error {
	if list := peers.PartsIn(dir); len(list) > 0 {
		return Unusable(fmt.Errorf("--data-dir: %s is of a node with --parts: name the directory of a part: %s", dir, strings.Join(list, ", ")))
	}
	return nil
}

// InfluxFlags are the flags of an InfluxDB, each with the prefix influx-.
type InfluxFlags struct {
	Host      string        `group:"Most used" default:"http://localhost:8086" env:"PINGLINE_INFLUX_HOST,INFLUX_HOST" help:"URL of InfluxDB."`
	Token     string        `group:"Most used" env:"PINGLINE_INFLUX_TOKEN,INFLUX_TOKEN" help:"Token; user:password on 1.8."`
	TokenFile string        `help:"File that holds the token, read again when it changes."`
	Org       string        `env:"PINGLINE_INFLUX_ORG,INFLUX_ORG" help:"Organization; not on 1.8."`
	Bucket    string        `group:"Most used" default:"pingline" env:"PINGLINE_INFLUX_BUCKET,INFLUX_BUCKET_NAME" help:"Bucket; database/retention-policy on 1.8."`
	Timeout   time.Duration `default:"10s" help:"How long a write may take."`

	CAFile   string            `name:"ca-file" placeholder:"FILE" help:"PEM file of the authorities that may vouch for InfluxDB's certificate, instead of the system's; it is read for each connection."`
	CertFile string            `placeholder:"FILE" help:"PEM file of the certificate with which we say who we are."`
	KeyFile  string            `placeholder:"FILE" help:"PEM file of its key."`
	Header   []node.HeaderLine `sep:"none" placeholder:"NAME: VALUE" help:"Sent with each request, for a proxy in front of InfluxDB; never logged. Repeated."`
}

// SpreadFlags are the flags that say to which stores points go.
type SpreadFlags struct {
	Shard         []node.ShardConfig `sep:" " placeholder:"name=…,url=…" help:"One of several stores: name, url, org, bucket, token-file, ca-file, cert-file, key-file, weight (1), set (main), on-full (wait; drop-set gives the set up while the log fills up); what is not said is as for --influx-…. Repeated; replaces --influx-host."`
	PartitionBy   partition.By       `default:"cell+rider" help:"cell+rider, rider (a track in one shard), or cell (a region in one shard)."`
	HotCellRate   float64            `default:"1000" help:"Pings/s of one part of a cell at which the cell is split by rider."`
	HotCells      string             `placeholder:"FILE" help:"Cells to split beforehand, one a line: CELL [PARTS]."`
	ShardHandover time.Duration      `default:"10m" help:"How long a shard is down before the others take what is its; 0: never."`
	MovedShard    []string           `sep:" " placeholder:"NAME" help:"A shard that was removed and whose points are elsewhere now, or not wanted: tracks are complete without it. Or a set that has what it lacked. Repeated."`
	Route         []sets.Route       `sep:" " placeholder:"KIND=NAME[/BUCKET],…" help:"Where location, event, activity or self go, instead of being spread over the main set or to its first shard: shards or sets. latest adds a Redis to where pings go. Repeated."`
}

// AuthFlags are the flags that say who may send and read.
type AuthFlags struct {
	Auth []string `default:"none" placeholder:"none|keys|jwt|cert" help:"Who may send and read: none: everybody; keys: who has a key of --keys; jwt: who has a token; cert: who has a client certificate that names a rider; keys,jwt: both."`
	Keys string   `placeholder:"FILE" help:"File of keys, made by pingline key; it is read again when it changes."`

	OwntracksSecrets string `placeholder:"FILE" help:"File of secrets by which riders encrypt in OwnTracks: a line RIDER SECRET each, or * SECRET for all others; it is read again when it changes."`

	AuditLog string `placeholder:"FILE" help:"File that has who read which rider's track, who removed a rider, and which key failed: a line of JSON each; rotated at 100 MB, ten are kept."`

	JWTJwks        string        `name:"jwt-jwks" placeholder:"FILE|URL" help:"JSON Web Key Set that tokens are signed by; read again when it changes, or asked again every hour and for keys that are not known."`
	JWTIssuer      string        `name:"jwt-issuer" placeholder:"ISS" help:"The iss of tokens."`
	JWTAudience    string        `name:"jwt-audience" placeholder:"AUD" help:"The aud of tokens, or one of several."`
	JWTRiderClaim  string        `name:"jwt-rider-claim" default:"sub" placeholder:"CLAIM" help:"Claim that has the rider, or a list of riders."`
	JWTScopeClaim  string        `name:"jwt-scope-claim" default:"scope" placeholder:"CLAIM" help:"Claim that has the scopes: write, read, admin, and all-riders for all riders."`
	JWTScopePrefix string        `name:"jwt-scope-prefix" default:"pingline:" placeholder:"TEXT" help:"Text before each of these scopes; other scopes are of other services."`
	JWTSkew        time.Duration `name:"jwt-skew" default:"30s" help:"By how much clocks may differ."`
}

// Set sets in cfg who may send and read.
func (f *AuthFlags) Set(cfg *node.Config) {
	cfg.Secrets = f.OwntracksSecrets
	cfg.Access = access.Settings{Ways: f.Auth, Keys: f.Keys, AuditLog: f.AuditLog, JWT: token.Config{
		JWKS: f.JWTJwks, Issuer: f.JWTIssuer, Audience: f.JWTAudience,
		RiderClaim: f.JWTRiderClaim, ScopeClaim: f.JWTScopeClaim, ScopePrefix: f.JWTScopePrefix, Skew: f.JWTSkew,
	}}
}

// PrivacyFlags are the flags of changes to pings before anything of them is kept.
// Zones are texts, as an error of the parser would quote them.
type PrivacyFlags struct {
	PrivateZone       []string `sep:" " placeholder:"LAT,LON,METRES" help:"Circle in which no position is kept, of any rider; zones of one key: pingline key add. Best in the file of --config: who may list processes sees a command line. Repeated."`
	PrivateZonePings  string   `default:"drop" enum:"drop,centre" help:"What becomes of a ping inside a zone: drop, or centre: it is stored at the zone's centre, without speed, heading and altitude."`
	PrivateZoneEvents []string `default:"*" placeholder:"EVENT" help:"Events that are stored as they are inside a zone, such as sos,crash; *: all, as no app must find out in need that its word for help is not in a list."`
	Pseudonyms        string   `placeholder:"FILE" help:"Store riders by pseudonyms, keyed hashes of their ids; the file has the key: pingline key pseudonyms makes it."`
}

// Set sets these changes in cfg.
func (f *PrivacyFlags) Set(cfg *node.Config) {
	cfg.Privacy = privacy.DoorSettings{Zones: f.PrivateZone, Pings: f.PrivateZonePings, Events: f.PrivateZoneEvents, Keys: f.Pseudonyms}
}

// TLSFlags are the flags by which all listeners speak TLS.
type TLSFlags struct {
	Cert      string `placeholder:"FILE" help:"PEM file of the certificate with which all listeners speak TLS, and of those between it and its authority; it is read again when it changes."`
	Key       string `placeholder:"FILE" help:"PEM file of its key."`
	ClientCA  string `name:"client-ca" placeholder:"FILE" help:"PEM file of the authorities of client certificates. Every connection needs one, unless --auth has cert."`
	ClientCRL string `name:"client-crl" placeholder:"FILE" help:"PEM or DER file of revocation lists of these authorities."`
}

// Set sets in cfg how listeners speak TLS.
func (f *TLSFlags) Set(cfg *node.Config) {
	cfg.TLS = certs.Config{Cert: f.Cert, Key: f.Key, ClientCA: f.ClientCA, ClientCRL: f.ClientCRL}
}

// LineFlags are the flags of pings in line protocol, as clients of InfluxDB write it.
type LineFlags struct {
	Measurements []string `placeholder:"NAME,…" help:"Measurements whose lines may be positions; without it all. Lines with the fields lat and lon are."`
	Riders       []string `default:"rider,rider_id,device,device_id,host" placeholder:"TAG,…" help:"Tags that name a rider: the first of them that a line has."`
	Names        []string `placeholder:"FIELD=NAME,…" help:"Names in place of those by which a field is known, such as speed=velocity, lat=y. FIELD is lat, lon, speed, heading, accuracy, altitude, battery, device, event or trip."`
	Other        string   `default:"refuse" enum:"refuse,drop,pass" help:"What becomes of lines that are no positions: refuse them, by 400, drop them, or pass them on to an InfluxDB; the client waits for its answer."`
	To           string   `placeholder:"SHARD[/BUCKET]" help:"Where --line-other=pass sends them; the first shard that is an InfluxDB, and its bucket, without it."`
}

// Set copies the flags into the settings of a node.
func (f *LineFlags) Set(cfg *node.Config) {
	to := &cfg.Lines
	to.Measurements, to.Riders, to.Names = f.Measurements, f.Riders, f.Names
	to.Drop, to.Pass, cfg.LinesTo = f.Other == "drop", f.Other == "pass", f.To
}

// MQTTFlags are the flags of the ways in by MQTT.
type MQTTFlags struct {
	Listen string `placeholder:"HOST:PORT" help:"Address where phones with OwnTracks publish by MQTT, such as :1883, or :8883 with --tls-cert."`

	Broker             string `placeholder:"URL" help:"Another broker, of MQTT 5, from which OwnTracks' messages are taken: mqtt://USER@HOST:PORT, or mqtts://…. It is trusted with the riders of its topics."`
	BrokerPasswordFile string `placeholder:"FILE" help:"File that has the password of USER; it is read for each connection."`
	BrokerCAFile       string `name:"broker-ca-file" placeholder:"FILE" help:"PEM file of the authorities that may vouch for that broker, instead of the system's."`
}

// Set sets these ways in cfg.
func (f *MQTTFlags) Set(cfg *node.Config) {
	cfg.MQTT = node.MQTT{Listen: f.Listen, Upstream: subscriber.Upstream{URL: f.Broker, PasswordFile: f.BrokerPasswordFile, CAFile: f.BrokerCAFile}}
}

// KafkaFlags are the flags of the way in by Kafka.
type KafkaFlags struct {
	KafkaIn             string `placeholder:"URL" help:"Topic of a Kafka from which pings are taken, in the forms of POST /v1/pings: kafka://HOST:PORT,…/TOPIC?group=NAME, or kafkas://…. It is trusted with all riders."`
	KafkaInPasswordFile string `placeholder:"FILE" help:"File that has the password of USER; it is read for each connection."`
	KafkaInCAFile       string `name:"kafka-in-ca-file" placeholder:"FILE" help:"PEM file of the authorities that may vouch for the brokers, instead of the system's."`
}

// Set sets this way in cfg.
func (f *KafkaFlags) Set(cfg *node.Config) {
	cfg.KafkaIn = kafka.Topic{URL: f.KafkaIn, PasswordFile: f.KafkaInPasswordFile, CAFile: f.KafkaInCAFile}
}

// SQSFlags are the flags of the way in by SQS.
type SQSFlags struct {
	SQSIn string `name:"sqs-in" placeholder:"URL" help:"Queue of Amazon SQS from which pings are taken, in the forms of POST /v1/pings: sqs://REGION/QUEUE, or sqs+http://HOST:PORT/QUEUE of another server, with ?pollers=4 and ?visibility=30s. It is trusted with all riders."`
}

// Set sets this way in cfg.
func (f *SQSFlags) Set(cfg *node.Config) { cfg.SQSIn = sqs.Inlet{URL: f.SQSIn} }

// WaysIn are the flags of the ways in that are not HTTP.
type WaysIn struct {
	MQTT  MQTTFlags  `group:"MQTT" embed:"" prefix:"mqtt-"`
	Kafka KafkaFlags `group:"Kafka" embed:""`
	SQS   SQSFlags   `group:"SQS" embed:""`
}

// Set sets these ways in cfg.
func (w *WaysIn) Set(cfg *node.Config) {
	w.MQTT.Set(cfg)
	w.Kafka.Set(cfg)
	w.SQS.Set(cfg)
}

// PeerFlags are the flags of nodes that share the riders.
type PeerFlags struct {
	Parts      int    `default:"1" help:"Parts of the riders, a power of two: with 2 or more each node takes a part that is free, or waits for one, and sends pings of other parts to the nodes that have them. The same on all nodes, for ever."`
	PeerListen string `placeholder:"HOST:PORT" help:"With --parts: address where the other nodes send pings, such as :8079."`
	PeerAddr   string `name:"peer-address" placeholder:"HOST:PORT" help:"How they reach it; the host's name and the port of --peer-listen without it."`
	PeerSecret string `name:"peer-secret-file" placeholder:"FILE" help:"File with a secret that all nodes share, of 16 bytes at least; pings go unencrypted then."`
	PeerCert   string `name:"peer-cert-file" placeholder:"FILE" help:"Instead of a secret, TLS: PEM file of the certificate that a node shows to the others."`
	PeerKey    string `name:"peer-key-file" placeholder:"FILE" help:"PEM file of its key."`
	PeerCA     string `name:"peer-ca-file" placeholder:"FILE" help:"PEM file of the authority that vouches for the nodes, and for nothing else."`
}

// Set sets in cfg how riders are shared.
func (f *PeerFlags) Set(cfg *node.Config) {
	cfg.Peers = peers.Sharing{
		Parts: f.Parts, Listen: f.PeerListen, Address: f.PeerAddr,
		SecretFile: f.PeerSecret, CertFile: f.PeerCert, KeyFile: f.PeerKey, CAFile: f.PeerCA,
	}
}

// MapFlags are the flags of the live map.
type MapFlags struct {
	Basemap         string `placeholder:"FILE" help:"Street map to lie below the live map: a file of PMTiles with vector tiles, such as an extract of the Protomaps basemap."`
	TileURL         string `placeholder:"URL" help:"Tiles of an online map to lie below the live map, such as https://tiles.example.org/{z}/{x}/{y}.png. Browsers ask that host for them, and no other."`
	TileAttribution string `placeholder:"TEXT" help:"Text that the live map shows for whom the tiles are."`
}

// Set sets in cfg how the live map is.
func (f *MapFlags) Set(cfg *node.Config) {
	cfg.Basemap, cfg.TileURL, cfg.TileAttribution = f.Basemap, f.TileURL, f.TileAttribution
}

// StoreFlags are the flags that name the stores and say to which of them points go.
type StoreFlags struct {
	Influx InfluxFlags `group:"Stores" embed:"" prefix:"influx-"`
	Spread SpreadFlags `group:"Stores" embed:""`
}

// Set sets in cfg where points go.
func (s *StoreFlags) Set(cfg *node.Config) {
	cfg.Influx, cfg.Shards, cfg.Routes = node.Influx(s.Influx), s.Spread.Shard, s.Spread.Route
	cfg.PartitionBy, cfg.HotCellRate, cfg.HotCells = s.Spread.PartitionBy, s.Spread.HotCellRate, s.Spread.HotCells
	cfg.HandOver, cfg.Moved = s.Spread.ShardHandover, s.Spread.MovedShard
}
