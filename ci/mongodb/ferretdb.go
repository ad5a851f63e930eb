// FerretDB with SQLite inside, as the stand-in for MongoDB where no MongoDB can be had.
//
// It is built inside FerretDB's own source, since its authentication is not part of the embeddable package.
// FerretDB reads a document and writes it back in two steps, so that two clients can take the same one, which
// MongoDB never lets happen. A gate in front of it lets one such command at a time pass.
//
// The patch beside this lets it find documents by its indexes instead of reading all, keep the cursors open that wait for
// more without asking all the time, take the option expireAfterSeconds (it deletes nothing), end a login at the step at
// which MongoDB ends it, and number documents of capped collections anew after a restart.
package main

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/FerretDB/FerretDB/internal/clientconn"
	"github.com/FerretDB/FerretDB/internal/clientconn/connmetrics"
	"github.com/FerretDB/FerretDB/internal/handler/registry"
	"github.com/FerretDB/FerretDB/internal/util/password"
	"github.com/FerretDB/FerretDB/internal/util/state"
)

var (
	listen      = flag.String("listen", "127.0.0.1:27017", "host and port to listen on")
	data        = flag.String("data", "data", "folder of the databases")
	certificate = flag.String("cert", "", "certificate, with which the port speaks TLS")
	key         = flag.String("key", "", "key of the certificate")
	user        = flag.String("user", "", "user that must log in; without one anybody may do everything")
	secret      = flag.String("password", "", "password of the user")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	if err := os.MkdirAll(*data, 0o755); err != nil {
		return err
	}
	socket := filepath.Join(*data, "ferretdb.sock")
	// One that was killed leaves it behind.
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	server, closeBackend, err := ferretdb(socket)
	if err != nil {
		return err
	}
	defer closeBackend()
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		if err != nil {
			return err
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	gate := &gate{socket: socket, clients: map[net.Conn]struct{}{}}
	go gate.dropOnSignal()
	go gate.serve(listener)
	server.Run(ctx)
	return nil
}

// ferretdb makes the server, which listens on a socket of this machine only.
func ferretdb(socket string) (*clientconn.Listener, func(), error) {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	provider, err := state.NewProvider("")
	if err != nil {
		return nil, nil, err
	}
	if err := provider.Update(func(s *state.State) { s.DisableTelemetry(); s.TelemetryLocked = true }); err != nil {
		return nil, nil, err
	}
	metrics := connmetrics.NewListenerMetrics()
	options := &registry.NewHandlerOpts{
		Logger:        logger,
		ConnMetrics:   metrics.ConnMetrics,
		StateProvider: provider,
		// What was written outlives the process. That the machine loses power is not what is tried here.
		SQLiteURL: "file:" + *data + "/?_pragma=synchronous(off)",
		TestOpts:  registry.TestOpts{BatchSize: 100, EnableNewAuth: *user != ""},
	}
	if *user != "" {
		options.SetupDatabase = "admin"
		options.SetupUsername = *user
		options.SetupPassword = password.WrapPassword(*secret)
	}
	handler, closeBackend, err := registry.NewHandler("sqlite", options)
	if err != nil {
		return nil, nil, err
	}
	server, err := clientconn.Listen(&clientconn.NewListenerOpts{
		Unix: socket, Mode: clientconn.NormalMode, Metrics: metrics, Handler: handler, Logger: logger,
	})
	if err != nil {
		closeBackend()
		return nil, nil, err
	}
	return server, closeBackend, nil
}

// gate passes messages between clients and the server.
type gate struct {
	socket string
	// changing is held by a command that changes documents.
	changing sync.Mutex
	mutex    sync.Mutex
	clients  map[net.Conn]struct{}
}

func (g *gate) serve(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		g.mutex.Lock()
		g.clients[client] = struct{}{}
		g.mutex.Unlock()
		go func() {
			_ = g.pass(client)
			client.Close()
			g.mutex.Lock()
			delete(g.clients, client)
			g.mutex.Unlock()
		}()
	}
}

// dropOnSignal closes all connections at each SIGUSR1.
func (g *gate) dropOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	for range signals {
		g.mutex.Lock()
		for client := range g.clients {
			client.Close()
		}
		g.mutex.Unlock()
	}
}

// pass takes requests to the server and answers back, one after the other.
func (g *gate) pass(client net.Conn) error {
	server, err := net.Dial("unix", g.socket)
	if err != nil {
		return err
	}
	defer server.Close()
	for {
		request, err := message(client)
		if err != nil {
			return err
		}
		answer, err := g.ask(server, request)
		if err != nil {
			return err
		}
		if _, err = client.Write(answer); err != nil {
			return err
		}
	}
}

// ask waits its turn. A command that was begun is finished whatever becomes of its client.
func (g *gate) ask(server net.Conn, request []byte) ([]byte, error) {
	switch command(request) {
	case "delete", "findAndModify", "findandmodify", "update":
		g.changing.Lock()
		defer g.changing.Unlock()
	}
	if _, err := server.Write(request); err != nil {
		return nil, err
	}
	if expectsNothing(request) {
		return nil, nil
	}
	return message(server)
}

const (
	headerLength = 16
	// opMsg is the kind of message that commands come in.
	opMsg      = 2013
	moreToCome = 1 << 1
	longest    = 64 << 20
)

// message reads one message: its first four bytes are its length.
func message(from io.Reader) ([]byte, error) {
	header := make([]byte, headerLength)
	if _, err := io.ReadFull(from, header); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(header)
	if length < headerLength || length > longest {
		return nil, fmt.Errorf("a message of %d bytes", length)
	}
	whole := make([]byte, length)
	copy(whole, header)
	_, err := io.ReadFull(from, whole[headerLength:])
	return whole, err
}

// command is the name of the first field of a message's first document; empty in another kind of message.
func command(request []byte) string {
	// Flags, the kind of the section, the length of the document, the type of the field, its name.
	const name = headerLength + 4 + 1 + 4 + 1
	if len(request) <= name || binary.LittleEndian.Uint32(request[12:]) != opMsg || request[headerLength+4] != 0 {
		return ""
	}
	text, _, _ := strings.Cut(string(request[name:min(len(request), name+40)]), "\x00")
	return text
}

// expectsNothing is true of a request that is not answered.
func expectsNothing(request []byte) bool {
	return binary.LittleEndian.Uint32(request[12:]) == opMsg &&
		len(request) >= headerLength+4 && binary.LittleEndian.Uint32(request[headerLength:])&moreToCome != 0
}
