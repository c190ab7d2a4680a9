//! Requests with one answer.

use task_messenger_protocol::{
    link::FromPeerWriter,
    messages::{from_manager, from_peer},
};
use tokio::sync::oneshot;

use super::{Item, State};
use crate::Error;

/// A request with one answer.
#[derive(Debug)]
pub(crate) struct Call {
    body: from_peer::Message,
    answer: oneshot::Sender<Result<from_manager::Message, Error>>,
    /// What it does, if doing it twice would do harm: then it isn't repeated when the link is cut.
    once: Option<&'static str>,
    sent: bool,
    pub(super) listed: bool,
}

impl Call {
    /// Tells the caller, who may have gone.
    pub(super) fn answer(self, answer: Result<from_manager::Message, Error>) {
        let _ = self.answer.send(answer);
    }

    /// The link is cut: whether it stays here, to be sent again. Otherwise its caller is told.
    pub(super) fn unsend(&mut self) -> bool {
        if let (true, Some(what)) = (self.sent, self.once) {
            let (nobody, _) = oneshot::channel();
            let _ = std::mem::replace(&mut self.answer, nobody).send(Err(Error::Unknown { what }));
            return false;
        }
        self.sent = false;
        !self.answer.is_closed()
    }
}

impl State {
    /// Adds a request; its answer comes over the channel.
    pub(crate) fn call(
        &mut self,
        body: from_peer::Message,
        once: Option<&'static str>,
    ) -> Result<oneshot::Receiver<Result<from_manager::Message, Error>>, Error> {
        self.check()?;
        let (answer, receiver) = oneshot::channel();
        let number = self.number();
        self.calls.insert(number, Call { body, answer, once, sent: false, listed: false });
        self.list(Item::Call(number));
        Ok(receiver)
    }

    pub(super) fn send_call(&mut self, number: u64, out: &mut FromPeerWriter) {
        let request = self.request(Item::Call(number));
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.listed = false;
        call.sent = true;
        let mut body = call.body.clone();
        match &mut body {
            from_peer::Message::Query(query) => query.request = request,
            from_peer::Message::CreateToken(create) => create.request = request,
            from_peer::Message::RevokeToken(revoke) => revoke.request = request,
            from_peer::Message::Cancel(cancel) => cancel.request = request,
            from_peer::Message::Retry(retry) => retry.request = request,
            from_peer::Message::Purge(purge) => purge.request = request,
            from_peer::Message::Acknowledge(acknowledge) => acknowledge.request = request,
            from_peer::Message::SetWorker(set) => set.request = request,
            from_peer::Message::RemoveWorker(remove) => remove.request = request,
            _ => {}
        }
        if let Err(error) = out.push(body)
            && let Some(call) = self.calls.remove(&number)
        {
            call.answer(Err(error.into()));
        }
    }

    pub(super) fn answered(&mut self, request: u64, answer: from_manager::Message) {
        if let Some(Item::Call(number)) = self.requests.get(&request).copied()
            && let Some(call) = self.calls.remove(&number)
        {
            self.requests.remove(&request);
            call.answer(Ok(answer));
        }
    }
}
