//! Prints who AWS takes the caller for, or the SDK's message.

use std::process::ExitCode;

use aws_config::BehaviorVersion;
use aws_sdk_sts::{Client, error::DisplayErrorContext};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let config = aws_config::load_defaults(BehaviorVersion::latest()).await;
    match Client::new(&config).get_caller_identity().send().await {
        Ok(identity) => {
            println!("{}", identity.arn().unwrap_or_default());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}", DisplayErrorContext(error));
            ExitCode::FAILURE
        }
    }
}
