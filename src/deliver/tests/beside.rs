//! Several lines to one partner, of which any may fail.

use tokio::sync::{Barrier, mpsc};

use super::*;
use crate::deliver::lanes::Beside;

/// What a test does on the partner's side of one line.
type Act = Box<dyn Fn(DuplexStream) + Send + Sync>;

/// A line whose further lines end at `act`, as the first one does at `first`.
async fn lines(first: impl Fn(DuplexStream), act: Act) -> Line {
    let over = async |stream| {
        Line::over(stream, &"expert".parse().unwrap(), "https://expert.example", limits()).await.unwrap()
    };
    let (ours, theirs) = duplex(1 << 16);
    first(theirs);
    let mut line = over(ours).await;
    line.beside = Some(Beside(Box::new(move || {
        let (ours, theirs) = duplex(1 << 16);
        act(theirs);
        Box::pin(async move {
            let partner = "expert".parse().unwrap();
            Ok(Line::over(ours, &partner, "https://expert.example", limits()).await.unwrap())
        })
    })));
    line
}

/// Takes segments, and acknowledges each when all of `together` have come.
fn takes(line: DuplexStream, together: &Arc<Barrier>, came: &mpsc::UnboundedSender<Vec<u8>>) {
    let (mut line, together, came) = (line, Arc::clone(together), came.clone());
    tokio::spawn(async move {
        while let Some((_, body)) = read_request(&mut line).await {
            came.send(body).unwrap();
            together.wait().await;
            line.write_all(answer("204", "").as_bytes()).await.unwrap();
        }
    });
}

/// Answers every request with this.
fn answers(line: DuplexStream, text: String) {
    drop(partner(line, vec![text]));
}

/// What came, sorted by its first byte, which tells its place.
fn sorted(mut came: mpsc::UnboundedReceiver<Vec<u8>>) -> Vec<u8> {
    let mut all: Vec<Vec<u8>> = std::iter::from_fn(|| came.try_recv().ok()).collect();
    all.sort();
    all.concat()
}

#[tokio::test(start_paused = true)]
async fn no_segment_waits_for_the_answer_to_the_one_before() {
    let (file, bytes, offer) = sealed();
    // None of the three is answered before all three have come.
    let (together, (came, sent)) = (Arc::new(Barrier::new(3)), mpsc::unbounded_channel());
    let (also, kept) = (Arc::clone(&together), came.clone());
    let act = Box::new(move |line| takes(line, &also, &kept));
    let mut line = lines(|line| takes(line, &together, &came), act).await;
    let mut counted = 0;
    line.send_missing(&offer, &state(&offer, vec![]), &file, |bytes| counted += bytes).await.unwrap();
    assert_eq!(counted, 230);
    assert_eq!(sorted(sent), bytes[20..]);
}

#[tokio::test(start_paused = true)]
async fn what_a_line_beside_does_not_bring_the_first_one_brings() {
    for text in [String::new(), error(Code::Busy), "HTTP/1.1 204 X\r\ncontent-le".to_owned()] {
        let (file, bytes, offer) = sealed();
        let (alone, (came, sent)) = (Arc::new(Barrier::new(1)), mpsc::unbounded_channel());
        let act = Box::new(move |line| answers(line, text.clone()));
        let mut line = lines(|line| takes(line, &alone, &came), act).await;
        let mut counted = 0;
        line.send_missing(&offer, &state(&offer, vec![]), &file, |bytes| counted += bytes).await.unwrap();
        assert_eq!(counted, 230, "each byte is acknowledged once");
        assert_eq!(sorted(sent), bytes[20..]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_does_not_pass_ends_the_sending_whichever_line_hears_it() {
    let (file, _, offer) = sealed();
    let (never, (came, _sent)) = (Arc::new(Barrier::new(9)), mpsc::unbounded_channel());
    let act = Box::new(|line| answers(line, error(Code::Refused)));
    let mut line = lines(|line| takes(line, &never, &came), act).await;
    let refused = line.send_missing(&offer, &state(&offer, vec![]), &file, |_| ()).await.unwrap_err();
    assert!(matches!(refused, DeliverError::Refused { code: Code::Refused, .. }), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_line_beside_that_cannot_be_dialled_keeps_nobody_waiting() {
    let (file, bytes, offer) = sealed();
    let (alone, (came, sent)) = (Arc::new(Barrier::new(1)), mpsc::unbounded_channel());
    let mut line = lines(|line| takes(line, &alone, &came), Box::new(drop)).await;
    line.beside = Some(Beside(Box::new(|| Box::pin(std::future::pending()))));
    let start = tokio::time::Instant::now();
    line.send_missing(&offer, &state(&offer, vec![]), &file, |_| ()).await.unwrap();
    assert_eq!(start.elapsed().as_secs(), 0);
    assert_eq!(sorted(sent), bytes[20..]);
}

#[tokio::test(start_paused = true)]
async fn a_sending_that_is_stopped_stops_on_every_line() {
    let (file, _, offer) = sealed();
    let (ended, mut ends) = mpsc::unbounded_channel();
    let (never, (came, mut sent)) = (Arc::new(Barrier::new(9)), mpsc::unbounded_channel());
    let act = Box::new(move |mut line: DuplexStream| {
        let (came, ended) = (came.clone(), ended.clone());
        tokio::spawn(async move {
            came.send(read_request(&mut line).await.unwrap().1).unwrap();
            assert!(read_request(&mut line).await.is_none());
            ended.send(()).unwrap();
        });
    });
    let (first, _kept) = mpsc::unbounded_channel();
    let mut line = lines(|line| takes(line, &never, &first), act).await;
    {
        let state = state(&offer, vec![]);
        let sending = line.send_missing(&offer, &state, &file, |_| ());
        tokio::select! {
            outcome = sending => panic!("it ended: {outcome:?}"),
            _ = async { (sent.recv().await, sent.recv().await) } => {}
        }
    }
    assert_eq!((ends.recv().await, ends.recv().await), (Some(()), Some(())));
}
