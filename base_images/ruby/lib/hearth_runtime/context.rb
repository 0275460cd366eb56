# frozen_string_literal: true

module HearthRuntime
  # What a handler is told of its function and of this invocation.
  # https://docs.aws.amazon.com/lambda/latest/dg/ruby-context.html
  class Context
    attr_reader :aws_request_id, :invoked_function_arn, :deadline_ms, :identity, :client_context, :tenant_id

    def initialize(event)
      @aws_request_id = event.request_id
      @invoked_function_arn = event.function_arn
      @deadline_ms = event.deadline_ms
      @identity = parsed(event.identity)
      @client_context = parsed(event.client_context)
      @tenant_id = event.tenant_id
    end

    def get_remaining_time_in_millis
      [@deadline_ms - (Time.now.to_f * 1000).to_i, 0].max
    end

    def function_name = ENV.fetch("AWS_LAMBDA_FUNCTION_NAME", nil)

    def function_version = ENV.fetch("AWS_LAMBDA_FUNCTION_VERSION", nil)

    def memory_limit_in_mb = ENV.fetch("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", nil)

    def log_group_name = ENV.fetch("AWS_LAMBDA_LOG_GROUP_NAME", nil)

    def log_stream_name = ENV.fetch("AWS_LAMBDA_LOG_STREAM_NAME", nil)

    private

    def parsed(text)
      text && JSON.parse(text)
    end
  end
end
