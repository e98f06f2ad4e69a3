//! An event stream on this side, a socket of a room or a Hub on that side. The Worker's time while it waits is not paid for, and the object sleeps.

use dormouse_core::limits;
use dormouse_core::stream::COMMENT;
use futures::channel::mpsc;
use futures::{FutureExt, Stream};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use worker::web_sys::{self, MessageEvent};
use worker::{Delay, Result, WebSocket};

type Events = mpsc::UnboundedReceiver<Vec<u8>>;

/// The text of a socket's frames as a stream of bytes; the object has written them as events already.
pub(crate) struct Bridge {
    socket: WebSocket,
    events: Rc<RefCell<Events>>,
    /// Bytes that came and were not taken: the bound on the channel above.
    waiting: Rc<Cell<usize>>,
    comment: Delay,
    on_message: Closure<dyn FnMut(MessageEvent)>,
    on_end: Closure<dyn FnMut(web_sys::Event)>,
}

impl Bridge {
    pub(crate) fn new(socket: WebSocket) -> Result<Self> {
        let (sender, events) = mpsc::unbounded::<Vec<u8>>();
        let events = Rc::new(RefCell::new(events));
        let waiting = Rc::new(Cell::new(0_usize));
        let ending = sender.clone();
        let on_end = Closure::<dyn FnMut(web_sys::Event)>::new(move |_| ending.close_channel());
        let on_message = {
            let (waiting, events, socket) = (waiting.clone(), events.clone(), socket.clone());
            Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
                let Some(text) = event.data().as_string() else { return };
                waiting.set(waiting.get() + text.len());
                // A reader this slow is let go; its browser comes back with the last id that it has seen. Not only this end of it: nobody asks for the next event while it
                // stalls, so until its connection ends the socket would stay, a member too, and what waits.
                if waiting.get() > limits::UNSENT_BYTES_MAX as usize
                    || sender.unbounded_send(text.into_bytes()).is_err()
                {
                    sender.close_channel();
                    let _ = socket.close(Some(1000), Some("gone"));
                    drop_all(&mut events.borrow_mut());
                }
            })
        };
        let raw: &web_sys::WebSocket = socket.as_ref();
        raw.add_event_listener_with_callback("message", on_message.as_ref().unchecked_ref())?;
        raw.add_event_listener_with_callback("close", on_end.as_ref().unchecked_ref())?;
        raw.add_event_listener_with_callback("error", on_end.as_ref().unchecked_ref())?;
        socket.accept()?;
        Ok(Self { socket, events, waiting, comment: pause(), on_message, on_end })
    }
}

fn drop_all(events: &mut Events) {
    while events.try_recv().is_ok() {}
}

fn pause() -> Delay {
    Delay::from(Duration::from_secs(u64::from(limits::STREAM_COMMENT_S)))
}

impl Stream for Bridge {
    type Item = Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut *self.events.borrow_mut()).poll_next(context);
        if let Poll::Ready(event) = next {
            let taken = event.as_ref().map_or(0, Vec::len);
            self.waiting.set(self.waiting.get().saturating_sub(taken));
            // Comments are for silence. And every item is asked for by a task of its own, while a delay wakes the one that asked first.
            self.comment = pause();
            return Poll::Ready(event.map(Ok));
        }
        if self.comment.poll_unpin(context).is_ready() {
            self.comment = pause();
            return Poll::Ready(Some(Ok(COMMENT.into())));
        }
        Poll::Pending
    }
}

impl Drop for Bridge {
    /// The reader has gone, or the object has: either way the other side is told.
    fn drop(&mut self) {
        let raw: &web_sys::WebSocket = self.socket.as_ref();
        let _ = raw.remove_event_listener_with_callback("message", self.on_message.as_ref().unchecked_ref());
        let _ = raw.remove_event_listener_with_callback("close", self.on_end.as_ref().unchecked_ref());
        let _ = raw.remove_event_listener_with_callback("error", self.on_end.as_ref().unchecked_ref());
        let _ = self.socket.close(Some(1000), Some("gone"));
    }
}
