//! The two outermost messages: what a peer sends, and what the manager sends.

use crate::messages::{
    Accepted, Acknowledge, Answer, Assign, Cancel, CancelLeases, Changed, CreateToken, DefineTemplate, Enrol, Enrolled,
    Follow, FollowCredit, FollowEnded, FromManager, FromPeer, GivenBack, Goodbye, Hello, Outcomes, OutcomesTaken, Ping,
    Pong, Purge, Query, Refused, Reload, Reloaded, RemoveWorker, Results, Resume, Resumed, Retry, RevokeToken,
    SetWorker, Started, Submit, TakeBack, TokenCreated, TokenRevoked, Unfollow, Welcome, Window, WorkerChanged,
    from_manager, from_peer,
};

/// An outermost message: one of many bodies.
pub trait Envelope: prost::Message + Default + 'static {
    /// What it carries.
    type Body;

    /// Takes the body out; `None` if this program doesn't know it (it came with a newer version, and may be ignored).
    fn open(self) -> Option<Self::Body>;

    /// Wraps a body.
    fn seal(body: Self::Body) -> Self;
}

macro_rules! envelope {
    ($envelope:ident, $module:ident: $($body:ident),* $(,)?) => {
        impl Envelope for $envelope {
            type Body = $module::Message;

            fn open(self) -> Option<Self::Body> {
                self.message
            }

            fn seal(body: Self::Body) -> Self {
                Self { message: Some(body) }
            }
        }

        $(impl From<$body> for $module::Message {
            fn from(body: $body) -> Self {
                Self::$body(body)
            }
        })*
    };
}

envelope!(FromPeer, from_peer:
    Hello, Ping, Pong, DefineTemplate, Submit, Follow, FollowCredit, Unfollow, Query, Enrol, Resume, Window, Started,
    Outcomes, GivenBack, CreateToken, RevokeToken, Cancel, Retry, Purge, Acknowledge, SetWorker, RemoveWorker,
    Reload,
);

envelope!(FromManager, from_manager:
    Welcome, Ping, Pong, Goodbye, Refused, Accepted, Results, FollowEnded, Answer, Enrolled, Resumed, DefineTemplate,
    Assign, OutcomesTaken, TokenCreated, TokenRevoked, Changed, CancelLeases, TakeBack, WorkerChanged,
    Reloaded,
);
