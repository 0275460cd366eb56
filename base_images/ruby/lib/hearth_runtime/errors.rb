# frozen_string_literal: true

module HearthRuntime
  # An exception as the Runtime API and a caller get it. `stage` is Init or Function.
  class Failure
    attr_reader :type

    def initialize(exception, stage)
      @type = "#{stage}<#{exception.class}>"
      # In whatever encoding it comes, it has to become JSON.
      @message = exception.message.dup.force_encoding("UTF-8").scrub
      # The frames of the function, not those of this client below it.
      @trace = (exception.backtrace || []).take_while { |line| !line.start_with?(__dir__) }
    end

    def to_h
      { "errorMessage" => @message, "errorType" => @type, "stackTrace" => @trace }
    end

    def to_json(*)
      JSON.generate(to_h)
    end
  end
end
