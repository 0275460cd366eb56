# frozen_string_literal: true

module HearthRuntime
  # The method that a handler string names: `file.method`, or `file.Module::Class.method` of a class.
  module Handler
    def self.load(name)
      file, *owner, method = name.split(".")
      raise ArgumentError, misnamed(name) if file.nil? || method.nil? || owner.length > 1

      require File.expand_path(file, ENV.fetch("LAMBDA_TASK_ROOT", "/var/task"))
      receiver = owner.empty? ? TOPLEVEL_BINDING.receiver : Object.const_get(owner.first)
      receiver.method(method.to_sym)
    end

    def self.misnamed(name)
      "Invalid handler #{name}, must be of form FILENAME.METHOD or FILENAME.CLASS.METHOD"
    end
    private_class_method :misnamed
  end
end
