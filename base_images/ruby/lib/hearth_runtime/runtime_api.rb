# frozen_string_literal: true

require "net/http"

module HearthRuntime
  Event = Struct.new(
    :request_id, :body, :deadline_ms, :function_arn, :trace_id, :client_context, :identity, :tenant_id,
    keyword_init: true
  )

  # The calls of the Runtime API, over one connection that is kept.
  # https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
  class RuntimeApi
    PREFIX = "/2018-06-01/runtime"
    # A warm environment waits for its next event as long as it takes.
    FOREVER = nil
    KEPT_S = 365 * 24 * 3600

    def initialize(address)
      host, port = address.split(":")
      @http = Net::HTTP.new(host, Integer(port))
      @http.read_timeout = FOREVER
      @http.keep_alive_timeout = KEPT_S
      @http.max_retries = 0 # an answer that was sent twice could be another invocation's
      @http.start
    end

    def next
      response = @http.get("#{PREFIX}/invocation/next")
      raise "the Runtime API answered #{response.code}" unless response.is_a?(Net::HTTPOK)

      Event.new(
        request_id: response["Lambda-Runtime-Aws-Request-Id"],
        body: response.body,
        deadline_ms: Integer(response["Lambda-Runtime-Deadline-Ms"]),
        function_arn: response["Lambda-Runtime-Invoked-Function-Arn"],
        trace_id: response["Lambda-Runtime-Trace-Id"],
        client_context: response["Lambda-Runtime-Client-Context"],
        identity: response["Lambda-Runtime-Cognito-Identity"],
        tenant_id: response["Lambda-Runtime-Aws-Tenant-Id"]
      )
    end

    def response(request_id, body, content_type)
      post("invocation/#{request_id}/response", body, "Content-Type" => content_type)
    end

    def error(request_id, failure)
      post("invocation/#{request_id}/error", failure.to_json, "Lambda-Runtime-Function-Error-Type" => failure.type)
    end

    def init_error(failure)
      post("init/error", failure.to_json, "Lambda-Runtime-Function-Error-Type" => failure.type)
    end

    private

    # An answer that is refused (too large, too late) was told to the caller by who refused it.
    def post(path, body, headers)
      @http.post("#{PREFIX}/#{path}", body, { "Content-Type" => "application/json" }.merge(headers))
    end
  end
end
