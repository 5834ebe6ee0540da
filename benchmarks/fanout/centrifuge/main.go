// Command centrifuge broadcasts a message to one channel every 100 ms, with the library that Centrifugo is built on.
//
// usage: centrifuge PORT MESSAGE_BYTES
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/centrifugal/centrifuge"
)

const channel = "music"

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: centrifuge PORT MESSAGE_BYTES")
	}
	size, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	node, err := centrifuge.New(centrifuge.Config{LogLevel: centrifuge.LogLevelError, ClientQueueMaxSize: 1 << 26})
	if err != nil {
		log.Fatal(err)
	}
	node.OnConnecting(func(_ context.Context, _ centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{UserID: ""},
			Subscriptions: map[string]centrifuge.SubscribeOptions{channel: {}},
		}, nil
	})
	if err := node.Run(); err != nil {
		log.Fatal(err)
	}
	http.Handle("/", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		CheckOrigin: func(*http.Request) bool { return true },
	}))
	go func() {
		log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
	}()
	fmt.Println("ready")
	data := []byte(`"` + strings.Repeat("a", size-2) + `"`)
	for range time.Tick(100 * time.Millisecond) {
		if _, err := node.Publish(channel, data); err != nil {
			log.Fatal(err)
		}
	}
}
