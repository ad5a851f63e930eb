//! Names and contents of files.

use std::fs;

use kombu_conformance::kit::{Outcome, fill, next, numbers, until};
use kombu_core::{Exchange, Queue};

use crate::ground::{Ground, cases, names};

cases! {
    files_are_named_in_the_order_of_publishing [];
    priorities_come_first_in_the_order_of_names [];
    bindings_are_written_as_kombu_does [];
    handled_messages_are_kept_if_asked_for [];
    folders_may_be_swapped_between_two_programs [];
    a_requeued_message_keeps_its_place_and_counts [];
    nothing_of_ours_is_left_after_closing [];
}

async fn files_are_named_in_the_order_of_publishing(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("a.b");
    fill(&connection, &queue, 0..200).await?;
    let mut bodies = Vec::new();
    for name in ground.messages() {
        let (stem, rest) = name.split_once('.').unwrap();
        assert_eq!(rest, "a.b.msg");
        let (millis, uuid) = stem.split_once('_').unwrap();
        assert!(millis.parse::<u64>().is_ok() && uuid.len() == 36, "{name}");
        let envelope: serde_json::Value =
            serde_json::from_slice(&fs::read(ground.data().join(&name))?)?;
        assert_eq!(envelope["properties"]["delivery_info"]["routing_key"], "a.b");
        let body = envelope["body"].as_str().unwrap();
        bodies.push(body.to_owned());
    }
    let mut consumer = connection.consumer(&queue).start().await?;
    let sorted = numbers(&mut consumer, 200).await?;
    assert_eq!(sorted, (0..200).collect::<Vec<_>>());
    // Python sorts the names: "MA==" is 0, "MQ==" is 1.
    assert_eq!(&bodies[..2], ["MA==", "MQ=="]);
    assert_eq!(bodies.len(), 200);
    Ok(connection.close().await?)
}

async fn priorities_come_first_in_the_order_of_names(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let producer = connection.producer().await?;
    for priority in [0, 4, 9, 4, 0] {
        producer.publish(&priority).to("", "q").priority(priority).await?;
    }
    let starts: Vec<_> = ground.messages().iter().map(|name| name[..2].to_owned()).collect();
    assert_eq!(starts[..3], ["-0", "-5", "-5"]);
    assert!(!starts[3].starts_with('-') && !starts[4].starts_with('-'));
    let mut consumer = connection.consumer(Queue::new("q")).start().await?;
    assert_eq!(numbers(&mut consumer, 5).await?, [9, 4, 4, 0, 0]);
    Ok(connection.close().await?)
}

async fn bindings_are_written_as_kombu_does(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let logs = Exchange::topic("logs");
    let all = Queue::new("all").bind(&logs, "#");
    let errors = Queue::new("errors").bind(&logs, "*.error");
    connection.declare_queue(&all).await?;
    connection.declare_queue(&errors).await?;
    connection.declare_queue(&errors).await?;
    let file = ground.control().join("logs.exchange");
    let table = || -> Result<serde_json::Value, Box<dyn std::error::Error + Send + Sync>> {
        Ok(serde_json::from_slice(&fs::read(&file)?)?)
    };
    let expected =
        serde_json::json!([["*.error", r"^[^\.]+\.error$", "errors"], ["#", "^.*?$", "all"]]);
    assert_eq!(table()?, expected, "the newest first, each once");
    connection.delete_queue("errors").await?;
    assert_eq!(table()?, serde_json::json!([["#", "^.*?$", "all"]]));
    Ok(connection.close().await?)
}

async fn handled_messages_are_kept_if_asked_for(ground: &Ground) -> Outcome {
    let processed = ground.root().join("processed");
    fs::create_dir(&processed)?;
    let connection = ground
        .builder()
        .option("store_processed", true)
        .option("processed_folder", processed.display().to_string())
        .connect()
        .await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..3).await?;
    let written = ground.messages();
    let mut consumer = connection.consumer(&queue).start().await?;
    next(&mut consumer).await?.ack_confirmed().await?;
    next(&mut consumer).await?.reject().await?;
    let held = next(&mut consumer).await?;
    assert!(names(&processed).len() < 3, "what is held is not handled");
    held.ack_confirmed().await?;
    assert_eq!(names(&processed), written);
    Ok(connection.close().await?)
}

async fn folders_may_be_swapped_between_two_programs(ground: &Ground) -> Outcome {
    let [here, there] = ["here", "there"].map(|name| ground.root().join(name));
    let mut ends = Vec::new();
    for (from, to) in [(&here, &there), (&there, &here)] {
        fs::create_dir_all(from)?;
        fs::create_dir_all(to)?;
        let builder = kombu_core::Connection::builder("filesystem://")
            .transport(kombu_transport_filesystem::FilesystemTransport::new())
            .option("data_folder_in", from.display().to_string())
            .option("data_folder_out", to.display().to_string())
            .option("control_folder", ground.control().display().to_string());
        ends.push(builder.connect().await?);
    }
    let queue = Queue::new("q");
    fill(&ends[0], &queue, [1]).await?;
    fill(&ends[1], &queue, [2]).await?;
    for (end, expected) in ends.iter().zip([2, 1]) {
        let mut consumer = end.consumer(&queue).start().await?;
        assert_eq!(numbers(&mut consumer, 1).await?, [expected]);
    }
    for end in ends {
        end.close().await?;
    }
    Ok(())
}

async fn a_requeued_message_keeps_its_place_and_counts(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..3).await?;
    let first = ground.messages()[0].clone();
    for round in 0..3 {
        let delivery = connection.get("q").await?.expect("three wait");
        assert_eq!(delivery.decode::<u64>()?, 0);
        assert_eq!(delivery.delivery_count(), Some(round));
        delivery.requeue().await?;
        connection.size("q").await?;
    }
    let name = first.replacen(".q.msg", "_r3.q.msg", 1);
    until("the third return", async || ground.messages()[0] == name).await;
    Ok(connection.close().await?)
}

async fn nothing_of_ours_is_left_after_closing(ground: &Ground) -> Outcome {
    let connection = ground.connect().await?;
    let queue = Queue::new("q");
    fill(&connection, &queue, 0..10).await?;
    let mut consumer = connection.consumer(&queue).prefetch(5).start().await?;
    next(&mut consumer).await?.ack().await?;
    connection.close().await?;
    assert_eq!(ground.messages().len(), 9);
    for folder in [".claimed", ".drafts"] {
        assert_eq!(names(&ground.data().join(folder)), Vec::<String>::new(), "{folder}");
    }
    Ok(())
}
