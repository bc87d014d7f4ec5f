// Prints who AWS takes the caller for, or the SDK's message. The argument is a file in the folder where the SDK is installed.
import { createRequire } from "node:module";

const { GetCallerIdentityCommand, STSClient } = createRequire(process.argv[2])("@aws-sdk/client-sts");

try {
  console.log((await new STSClient({}).send(new GetCallerIdentityCommand({}))).Arn);
} catch (error) {
  console.error(`${error.name}: ${error.message}`);
  process.exitCode = 1;
}
