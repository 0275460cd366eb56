# frozen_string_literal: true

# A client of the Lambda Runtime API (2018-06-01) for Ruby: asks for events and gives them to the function's handler.
# What a handler sees is as in AWS's runtime: https://docs.aws.amazon.com/lambda/latest/dg/lambda-ruby.html

require "json"
require_relative "context"
require_relative "errors"
require_relative "handler"
require_relative "runtime_api"

module HearthRuntime
  # Load the handler and serve events until the end of the process.
  def self.main
    $stdout.sync = $stderr.sync = true
    prepare_gems
    api = RuntimeApi.new(ENV.fetch("AWS_LAMBDA_RUNTIME_API"))
    handler = load_handler(api)
    loop { serve(api, handler) }
  end

  # Layers and the function's own bundle come before, not instead of, the gems of the image.
  def self.prepare_gems
    Gem.paths = { "GEM_PATH" => (ENV.fetch("GEM_PATH", "").split(":") + Gem.default_path).join(":") }
    $LOAD_PATH.unshift(ENV.fetch("LAMBDA_TASK_ROOT", "/var/task"))
  end

  def self.load_handler(api)
    Handler.load(ENV.fetch("_HANDLER", ARGV.fetch(0, "")))
  rescue Exception => e # whatever it is, also a SyntaxError: the caller is told
    log(e)
    api.init_error(Failure.new(e, "Init"))
    exit 1
  end

  def self.serve(api, handler)
    event = api.next
    ENV["_X_AMZN_TRACE_ID"] = event.trace_id
    api.response(event.request_id, *answer(handler, event))
  rescue SystemExit, SignalException, NoMemoryError
    raise # the end of the process is what the function wanted, or cannot be helped
  rescue Exception => e
    log(e)
    api.error(event.request_id, Failure.new(e, "Function"))
  end

  # The body of the answer and its content type: an IO is given as it is, anything else as JSON.
  def self.answer(handler, event)
    result = handler.call(event: JSON.parse(event.body, max_nesting: false), context: Context.new(event))
    return [result.read, "application/octet-stream"] if result.respond_to?(:read)

    [JSON.generate(result, max_nesting: false), "application/json"]
  end

  def self.log(error)
    $stderr.puts(Failure.new(error, "Function").to_json)
  end
end
