package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/vzreconciler/vzreconciler/drivers"
)

func TestPiecesArriveInOrderAndBounded(t *testing.T) {
	var sent [][]byte
	w := NewPieceWriter(func(p []byte) error {
		sent = append(sent, bytes.Clone(p))
		return nil
	})
	var want bytes.Buffer
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, 512, pieceBytes / 2, pieceBytes - 1, pieceBytes, pieceBytes + 1, 3*pieceBytes + 7, 100} {
		part := make([]byte, n)
		for i := range part {
			part[i] = byte(r.Uint32())
		}
		want.Write(part)
		if got, err := w.Write(part); got != n || err != nil {
			t.Fatalf("write of %d: %d, %v", n, got, err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, p := range sent {
		if len(p) == 0 || len(p) > pieceBytes {
			t.Errorf("a piece of %d bytes", len(p))
		}
	}
	next := func() func() ([]byte, error) {
		rest := sent
		return func() ([]byte, error) {
			if len(rest) == 0 {
				return nil, io.EOF
			}
			p := rest[0]
			rest = rest[1:]
			return p, nil
		}
	}
	for name, read := range map[string]func(io.Reader) ([]byte, error){
		"read":     func(r io.Reader) ([]byte, error) { return io.ReadAll(iotest.HalfReader(r)) },
		"write to": func(r io.Reader) ([]byte, error) { var b bytes.Buffer; _, err := io.Copy(&b, r); return b.Bytes(), err },
	} {
		if got, err := read(NewPieceReader(next())); err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s: %d bytes, want %d, %v", name, len(got), want.Len(), err)
		}
	}
}

// upload is a stream that takes so many pieces.
type upload struct {
	ctx    context.Context //nolint:containedctx // of the stream
	takes  int
	closed bool
	result chan error
}

func (u *upload) SendPiece([]byte) error {
	if u.takes--; u.takes < 0 {
		return io.EOF
	}
	return nil
}

func (u *upload) CloseSend() error {
	u.closed = true
	u.result <- nil
	return nil
}

func (u *upload) Await() error {
	select {
	case err := <-u.result:
		return err
	case <-u.ctx.Done():
		return status.FromContextError(u.ctx.Err()).Err()
	}
}

func TestUploadTellsWhatWentWrong(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		archive io.Reader
		refuses error // of the other end, before it has read all
		want    error
	}{
		"all sent":     {archive: bytes.NewReader(make([]byte, 3*pieceBytes))},
		"empty":        {archive: bytes.NewReader(nil)},
		"cannot read":  {archive: io.MultiReader(bytes.NewReader(make([]byte, pieceBytes)), iotest.ErrReader(broken)), want: broken},
		"refused":      {archive: endlessZeroes{}, refuses: ToStatus(drivers.ErrInvalidState), want: drivers.ErrInvalidState},
		"refused dumb": {archive: endlessZeroes{}, refuses: status.Error(codes.Unknown, "x"), want: nil},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			u := &upload{ctx: ctx, takes: 10, result: make(chan error, 2)}
			if tc.refuses != nil {
				u.result <- tc.refuses
			}
			err := Upload(cancel, u, nil, tc.archive)
			switch {
			case tc.refuses == nil && tc.want == nil && (err != nil || !u.closed):
				t.Errorf("error %v, the stream closed: %v", err, u.closed)
			case tc.refuses != nil && err == nil:
				t.Error("no error")
			case tc.want != nil && !errors.Is(err, tc.want):
				t.Errorf("error %v, want %v", err, tc.want)
			case tc.want != nil && u.closed:
				t.Error("a part was passed off as the whole")
			}
		})
	}
}

type endlessZeroes struct{}

func (endlessZeroes) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestCopyRequestsSurviveTheWire(t *testing.T) {
	in := drivers.CopyInRequest{Container: "c", Path: "/p/", Unpack: true, KeepOwner: true, Parents: true}
	if got := ToCopyIn(FromCopyIn(in, nil)); got != in {
		t.Errorf("%+v became %+v", in, got)
	}
	out := drivers.CopyOutRequest{Container: "c", Path: "/p/.", FollowLink: true}
	if got := ToCopyOut(FromCopyOut(out, nil)); got != out {
		t.Errorf("%+v became %+v", out, got)
	}
}
