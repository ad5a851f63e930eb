//! The suite can fail: transports with one fault each are caught, by the cases about that fault.

mod transport;

use std::thread;

use kombu_conformance::{Target, Verdict, verdicts};
use kombu_transport_memory::MemoryTransport;

use transport::{Broken, Fault};

/// The cases of a name on a transport with a fault, and what they came to.
fn on(fault: Fault, part: &str) -> Vec<(&'static str, Verdict)> {
    verdicts(Target::new("memory://", Broken::new(fault)), part)
}

/// Checks that cases fail on a transport with a fault, and pass on the same one without.
fn caught(fault: Fault, cases: &[&str]) {
    // Much of it is waiting for what never comes.
    thread::scope(|threads| {
        for case in cases {
            for (fault, fails) in [(Fault::None, false), (fault, true)] {
                threads.spawn(move || {
                    let verdicts = on(fault, case);
                    assert!(!verdicts.is_empty(), "there is no case {case}");
                    for (name, verdict) in verdicts {
                        assert_eq!(
                            matches!(verdict, Verdict::Failed(_)),
                            fails,
                            "{name} with {fault:?}: {verdict:?}"
                        );
                    }
                });
            }
        }
    });
}

#[test]
fn lost_messages_are_caught() {
    caught(
        Fault::DropsEveryFifth,
        &["publish::publishes_keep_their_order", "publish::many_tasks_publish_at_once"],
    );
}

#[test]
fn doubled_messages_are_caught() {
    caught(
        Fault::DoublesEveryFifth,
        &["publish::batch_keeps_its_order", "concurrency::calls_can_be_dropped"],
    );
}

#[test]
fn swapped_messages_are_caught() {
    caught(Fault::SwapsPairs, &["publish::batch_keeps_its_order"]);
}

#[test]
fn requeue_that_acknowledges_is_caught() {
    caught(
        Fault::RequeueAcknowledges,
        &[
            "ack::requeued_message_comes_again",
            "ack::requeued_message_comes_back_first",
            "cancel::close_gives_back_what_was_fetched",
        ],
    );
}

#[test]
fn acknowledgements_that_go_nowhere_are_caught() {
    caught(
        Fault::ForgetsAcknowledgements,
        &["ack::acknowledged_message_is_done_with", "consume::prefetch_opens_with_each_settlement"],
    );
}

#[test]
fn settlements_that_are_not_checked_are_caught() {
    caught(Fault::SettlesTwice, &["ack::settling_twice_is_an_error"]);
}

#[test]
fn ignored_multiple_is_caught() {
    caught(Fault::IgnoresMultiple, &["ack::acknowledging_up_to_covers_all_before"]);
}

#[test]
fn ignored_prefetch_is_caught() {
    caught(Fault::IgnoresPrefetch, &["consume::prefetch_bounds_the_unsettled"]);
}

#[test]
fn swallowed_cancel_is_caught() {
    caught(Fault::IgnoresCancel, &["cancel::cancelled_consumer_gets_nothing_new"]);
}

#[test]
fn silent_mandatory_is_caught() {
    caught(Fault::IgnoresMandatory, &["publish::mandatory_unroutable_is_an_error"]);
}

#[test]
fn ignored_delays_are_caught() {
    caught(
        Fault::IgnoresDelay,
        &[
            "delayed::delayed_message_comes_when_it_is_due",
            "delayed::delayed_messages_overtake_each_other",
        ],
    );
}

#[test]
fn changed_headers_are_caught() {
    caught(
        Fault::StringifiesHeaders,
        &["properties::headers_of_every_type_round_trip", "properties::nested_headers_round_trip"],
    );
}

#[test]
fn lost_redelivered_marks_are_caught() {
    caught(Fault::NeverMarksRedelivered, &["ack::requeued_message_is_marked_redelivered"]);
}

#[test]
fn calls_that_hang_are_caught() {
    caught(Fault::HangsOnSize, &["delete::size_counts_what_waits"]);
}

#[test]
fn claims_that_are_not_kept_are_caught() {
    // It says that it has consumer priorities, and the transport below refuses them.
    let verdicts = on(Fault::ClaimsConsumerPriority, "consumer_priority");
    let failed = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_)));
    assert_eq!(failed.count(), 1, "{verdicts:?}");
}

#[test]
fn unclaimed_features_must_be_refused() {
    // It says that it has no topic exchanges, and declares them all the same.
    let verdicts = on(Fault::HidesTopic, "topic");
    let verdict = |part: &str| {
        let found = verdicts.iter().find(|(name, _)| name.contains(part));
        found.map(|(_, verdict)| verdict)
    };
    let refusal = verdict("refusal::unclaimed_topic_is_unsupported");
    assert!(matches!(refusal, Some(Verdict::Failed(_))), "{verdicts:?}");
    let positive = verdict("topic::topic_matches_as_amqp_says");
    assert_eq!(positive, Some(&Verdict::Ignored("needs topic".to_owned())));
}

#[test]
fn missing_broker_is_ignored_or_fails_and_never_passes() {
    let target = Target::from_env("NO_SUCH_TRANSPORT", MemoryTransport::new());
    for (name, verdict) in verdicts(target, "") {
        // Whichever this run of the tests requires.
        let said = match verdict {
            Verdict::Ignored(why) | Verdict::Failed(why) => why,
            other => panic!("{name}: {other:?}"),
        };
        assert!(said.contains("KOMBU_TEST_NO_SUCH_TRANSPORT_URL is not set"), "{name}: {said}");
    }
}

#[test]
fn broker_that_does_not_answer_fails_every_case() {
    let target = Target::new("memory://?no_such_option=1", MemoryTransport::new());
    let verdicts = verdicts(target, "publish::");
    assert!(verdicts.len() > 5);
    for (name, verdict) in verdicts {
        assert!(matches!(verdict, Verdict::Failed(_)), "{name}: {verdict:?}");
    }
}
