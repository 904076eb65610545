// Command memberlist is one member of a hashicorp/memberlist cluster with the library's LAN defaults. It
// prints one JSON object a line for each thing that its member comes to believe, so that `bench mesh` can
// time it beside SlotMesh's agents. One process holds one member: a process that is stopped keeps its
// sockets bound and unread, which no member inside a shared process could do as faithfully.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// joinTries bounds how often the others are asked before a member gives up.
const joinTries = 60

// line is what is printed. Event is "start" (this process), "join" or "leave" (another member came to
// count as alive, or as dead).
type line struct {
	AtUnixNs int64  `json:"atUnixNs"`
	Event    string `json:"event"`
	Node     string `json:"node"`
}

// printer writes lines; memberlist calls it from several goroutines.
type printer struct {
	lock sync.Mutex
	out  *json.Encoder
}

func (p *printer) say(event, node string) {
	at := time.Now().UnixNano()
	p.lock.Lock()
	defer p.lock.Unlock()
	// Who reads is the bench; without it there is nothing to say.
	_ = p.out.Encode(line{at, event, node})
}

func (p *printer) NotifyJoin(node *memberlist.Node)  { p.say("join", node.Name) }
func (p *printer) NotifyLeave(node *memberlist.Node) { p.say("leave", node.Name) }
func (p *printer) NotifyUpdate(*memberlist.Node)     {}

func main() {
	name := flag.String("name", "", "name of this member")
	address := flag.String("address", "", "IP address to bind and to advertise")
	port := flag.Int("port", 7946, "port, UDP and TCP")
	peers := flag.String("join", "", "addresses to join through, host:port, separated by commas")
	flag.Parse()
	if *name == "" || *address == "" {
		fmt.Fprintln(os.Stderr, "memberlist: -name and -address are needed")
		os.Exit(2)
	}
	if err := run(*name, *address, *port, *peers); err != nil {
		fmt.Fprintln(os.Stderr, "memberlist:", err)
		os.Exit(1)
	}
}

func run(name, address string, port int, peers string) error {
	printer := &printer{out: json.NewEncoder(os.Stdout)}
	config := memberlist.DefaultLANConfig()
	config.Name = name
	config.BindAddr, config.BindPort = address, port
	config.AdvertiseAddr, config.AdvertisePort = address, port
	config.Events = printer
	config.LogOutput = io.Discard
	printer.say("start", name)
	list, err := memberlist.Create(config)
	if err != nil {
		return err
	}
	if peers != "" {
		if err := join(list, strings.Split(peers, ",")); err != nil {
			return err
		}
	}
	select {}
}

// join asks until somebody answers: members that start together find each other's ports closed at first.
func join(list *memberlist.Memberlist, peers []string) error {
	var err error
	for range joinTries {
		if _, err = list.Join(peers); err == nil {
			return nil
		}
		time.Sleep(500 * time.Millisecond)
	}
	return fmt.Errorf("nobody to join: %w", err)
}
