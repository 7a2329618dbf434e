package plugins

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/vzreconciler/vzreconciler/plugins/runtimepb"
)

// stopped reports whether the server takes no more calls.
func stopped(s *grpc.Server) bool {
	client, server := net.Pipe()
	_ = client.Close()
	lis := oneConn{server}
	return errors.Is(s.Serve(lis), grpc.ErrServerStopped)
}

// oneConn is a listener that fails.
type oneConn struct{ net.Conn }

func (oneConn) Accept() (net.Conn, error) { return nil, errors.New("no more") }
func (c oneConn) Addr() net.Addr          { return c.LocalAddr() }

func TestPluginGivesUpAMinuteAfterTheLastCall(t *testing.T) {
	for _, tt := range []struct {
		name string
		use  func(l *life)
		want time.Duration // 0: never
	}{
		{"unused", func(*life) {}, time.Minute},
		{"asked for long", func(l *life) { call1(l, runtimepb.Runtime_Probe_FullMethodName, time.Hour) }, time.Hour + time.Minute},
		{"bootstrapped", func(l *life) { call1(l, runtimepb.Runtime_Bootstrap_FullMethodName, time.Second) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				terminated := make(chan os.Signal)
				l := &life{work: runtimeWork(NewClient(refusing{})), log: slog.New(slog.DiscardHandler)}
				s := grpc.NewServer()
				defer s.Stop()
				l.begin(s, time.Minute, terminated)
				begin := time.Now()
				tt.use(l)
				for time.Since(begin) < 3*time.Hour {
					synctest.Wait()
					if stopped(s) {
						break
					}
					<-time.After(10 * time.Second)
				}
				took := time.Since(begin)
				if tt.want == 0 && took < 3*time.Hour {
					t.Errorf("it gave up after %s", took)
				}
				if tt.want != 0 && (took < tt.want || took > tt.want+20*time.Second) {
					t.Errorf("it gave up after %s, want %s", took, tt.want)
				}
				// Ends the goroutine that waits for SIGTERM.
				close(terminated)
				synctest.Wait()
			})
		})
	}
}

// call1 makes one call that takes a while.
func call1(l *life, method string, takes time.Duration) {
	_, _ = l.unary(context.Background(), nil, &grpc.UnaryServerInfo{FullMethod: method}, func(context.Context, any) (any, error) {
		<-time.After(takes)
		return nil, nil
	})
}

// refusing is a connection on which every call fails.
type refusing struct{}

func (refusing) Invoke(context.Context, string, any, any, ...grpc.CallOption) error {
	return errors.New("refused")
}

func (refusing) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("refused")
}

func TestSocketDirectoryMustBeShortAndOurs(t *testing.T) {
	theirs := filepath.Join(t.TempDir(), "theirs")
	if err := os.Mkdir(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(theirs, 12345, -1); err != nil {
		t.Fatalf("needs root: %v", err)
	}
	for dir, want := range map[string]string{
		"":                                    "1 to 65 bytes",
		"/tmp/" + strings.Repeat("long/", 20): "1 to 65 bytes",
	} {
		l := NewLauncher(LauncherOptions{SocketDir: dir})
		if err := l.prepareSocketDir(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", dir, err, want)
		}
	}
	if err := checkOwner(theirs); err == nil || !strings.Contains(err.Error(), "belongs to user 12345") {
		t.Errorf("a directory of another user: %v", err)
	}
}

// slowStop is a connection to a runtime whose Stop takes a while.
type slowStop struct {
	refusing
	takes time.Duration
	err   error // of the wait
}

func (s *slowStop) Invoke(ctx context.Context, method string, _, _ any, _ ...grpc.CallOption) error {
	if method == runtimepb.Runtime_Stop_FullMethodName {
		select {
		case <-time.After(s.takes):
		case <-ctx.Done():
			s.err = ctx.Err()
		}
	}
	return s.err
}

func TestTerminationWaitsForASandboxThatUsesUpItsGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowStop{takes: termGrace + 25*time.Second}
		l := &life{work: runtimeWork(NewClient(conn)), log: slog.New(slog.DiscardHandler), server: grpc.NewServer()}
		l.terminate()
		if conn.err != nil {
			t.Errorf("the stop was cut off: %v", conn.err)
		}
	})
}
