package transporttest

import (
	"runtime"
	"testing"
	"time"

	"github.com/parley-go/parley/transport"
)

// A Network is where the nodes of one case meet.
type Network struct {
	// Join adds a node that can reach, and be reached by, all others of this
	// Network, and fails the test if it cannot. The node may bear another name
	// than the one asked for, where names mean something: the cases go by Local.
	// A name is asked for again only after its node was closed. The case closes
	// all nodes. Required.
	Join func(name string) transport.Transport

	// MaxMessage is the largest body that the nodes carry, in bytes, at least
	// 1024. Zero means transport.DefaultMaxMessage.
	MaxMessage int

	// MaxCalls is how many calls from one node to another may be in flight, if
	// that is to be checked. It has to be 1,000 or more. Zero means that it is not.
	MaxCalls int

	// Patience is the longest time for one case. Within it everything that must
	// happen has to happen. Zero means 30 s.
	Patience time.Duration
}

// A Case is one check of the suite.
type Case struct {
	// Name says what is checked, in the form of a test's name.
	Name string

	run func(*check)
}

// Run runs the case on a network of its own, whose nodes it closes. It may be
// called from within a testing/synctest bubble, with the bubble's t.
func (c Case) Run(t testing.TB, n Network) {
	t.Helper()
	ck := begin(t, n)
	defer ck.end()
	c.run(ck)
}

// Cases returns all cases, in the order of the contract.
func Cases() []Case {
	return []Case{
		{"SendArrives", sendArrives},
		{"SendKeepsOrderOfEachSender", sendKeepsOrder},
		{"SendCopiesBody", sendCopiesBody},
		{"ReceivedBodyIsTheHandlersOwn", receivedBodyIsOwn},
		{"SendNeverRunsHandlerOnCallersStack", sendOffStack},
		{"SendWithoutServiceIsDropped", sendWithoutService},
		{"ReceiveHandlerMayExit", receiveGoexit},
		{"ReceiveAndServeShareNoNames", separateNames},
		{"FirstContactFromBothSides", firstContact},
		{"SharedBodyStaysAsItIs", sharedBodyStays},
		{"SharedBodyIsCopiedForReceive", sharedBodyIsCopied},

		{"CallIsAnswered", callIsAnswered},
		{"CallToItself", callToItself},
		{"CallCopiesRequest", callCopiesRequest},
		{"ResponseBelongsToCaller", responseBelongsToCaller},
		{"HandlerCallsBackIntoItsCaller", nestedCalls},
		{"ThousandCallsAtOnce", thousandCalls},
		{"BlockedHandlerDelaysNobody", blockedHandler},
		{"LargeBesideSmall", largeBesideSmall},
		{"HandlersErrorIsRemote", remoteErrors},
		{"HandlersSentinelIsOnlyText", remoteSentinels},
		{"HandlerMayExit", serveGoexit},
		{"NoService", noService},

		{"EndedContextReturnsAtOnce", endedContext},
		{"DeadlineTravels", deadlineTravels},
		{"DeadlineEndsCallAndHandler", deadlineEnds},
		{"CancelEndsHandler", cancelEnds},
		{"LateResponseReachesNoOtherCall", lateResponse},
		{"CancelRacesResponse", cancelRaces},
		{"DeadlineOfOneCallHarmsNoOther", deadlineHarmsNoOther},

		{"Names", names},
		{"MessageAtLimitAndOver", messageLimit},
		{"ResponseAtLimitAndOver", responseLimit},
		{"UnknownNode", unknownNode},
		{"BlockedReceiverOverflows", blockedReceiver},
		{"EmptyMessagesOverflow", emptyMessagesOverflow},
		{"CallsInFlightOverflow", callsOverflow},

		{"StopRemovesHandler", stopRemoves},
		{"StopWaitsForHandlers", stopWaits},
		{"StopFromInsideHandler", stopInside},
		{"LaterRegistrationTakesPlace", replace},
		{"ReplacingLosesNoCall", replaceUnderLoad},

		{"CloseEndsOwnCalls", closeEndsOwnCalls},
		{"CloseEndsCallsOfPeers", closeEndsPeersCalls},
		{"CloseWaitsForReceivers", closeWaitsForReceivers},
		{"CloseFromInsideServe", closeInsideServe},
		{"CloseFromInsideReceive", closeInsideReceive},
		{"CloseManyTimes", closeManyTimes},
		{"ClosedStaysClosed", closedStaysClosed},
		{"CloseUnderLoad", closeUnderLoad},
		{"NameJoinsAgain", joinAgain},
	}
}

// Run runs every case as a subtest, each on a Network of its own, and fails one
// that leaves goroutines behind. Nothing else may start goroutines meanwhile, so
// a test that calls Run must not be parallel to others.
func Run(t *testing.T, start func(t *testing.T) Network) {
	t.Helper()
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			t.Cleanup(func() { noneLeft(t, before) }) // runs after the cleanups that start adds
			c.Run(t, start(t))
		})
	}
}

// noneLeft waits until there are no more goroutines than before.
func noneLeft(t *testing.T, before int) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 5000 {
		if runtime.NumGoroutine() <= before {
			return
		}
		<-tick.C
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	t.Errorf("%d goroutines before, %d after all nodes were closed:\n%s", before, runtime.NumGoroutine(), stacks)
}
